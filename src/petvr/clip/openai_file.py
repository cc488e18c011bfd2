"""OpenAI's own files (ViT-B-32.pt ...): TorchScript archives, or state dicts with OpenAI's names.

Tensors are taken out of them; no code they hold is run, and of what their pickle may name only tensors are made.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from petvr.clip.config import ClipConfig, Tower
from petvr.errors import PetvrError, first_line

STORAGES = {"FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
            "DoubleStorage": torch.float64, "LongStorage": torch.int64, "IntStorage": torch.int32,
            "BoolStorage": torch.bool, "ByteStorage": torch.uint8}  # fmt: skip
HEAD_WIDTH = 64  # of every CLIP that OpenAI published; the file does not say it
LARGEST_PICKLE = 2**25  # bytes; that of ViT-L/14 is a hundredth
NO_PARAMETERS = ("input_resolution", "context_length", "vocab_size")
LAYER = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1",
         "mlp.c_proj": "mlp.fc2"}  # fmt: skip
OUTSIDE_LAYERS = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "logit_scale": "logit_scale",
}
TRANSPOSED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}


def read_openai(path: Path) -> tuple[ClipConfig, dict[str, Tensor]]:
    """The geometry that the shapes tell, and the parameters in fp32 under CLIPModel's names.

    Raises PetvrError for what is damaged, no CLIP, or one with a ResNet.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            scripted = any(name.endswith("/constants.pkl") for name in archive.namelist())
            state = dict(_tensors_of(_unpickled(archive))) if scripted else None
        if state is None:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zipfile, pickle, struct, torch: no common base
        raise PetvrError(
            f"{path}: not readable as one of OpenAI's files: {first_line(error)[:200]}; allowed: their .pt files, a"
            " folder with config.json, model.safetensors and tokenizer.json, or a name on the hub"
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise PetvrError(f"{path}: holds something else than named tensors")
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if "visual.layer1.0.conv1.weight" in state:
        raise PetvrError(f"{path}: a CLIP with a ResNet; petvr reads those with a ViT (ViT-B-32, ViT-B-16, ViT-L-14)")
    try:
        return _config(state), dict(_renamed(state))
    except (KeyError, IndexError, ValueError) as error:
        raise PetvrError(f"{path}: not the tensors of a CLIP by OpenAI's names ({error})") from error


class ArchivedModule:
    """Stands for a module of the archive: it keeps what the pickle sets and does nothing."""

    def __new__(cls, *_: Any) -> ArchivedModule:
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        self.__dict__["state"] = state


def _unpickled(archive: zipfile.ZipFile) -> Any:
    """data.pkl with tensors from the records beside it, each read once."""
    top = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
    size = Path(str(archive.filename)).stat().st_size

    def record(name: str) -> bytes:
        """One record; torch compresses none of those that are read here, so none is larger than the file."""
        facts = archive.getinfo(f"{top}{name}")
        if facts.compress_type != zipfile.ZIP_STORED or facts.file_size > size:
            raise ValueError(f"a compressed record '{name}'")
        return archive.read(facts)

    storages: dict[str, Tensor] = {}

    def tensor(storage: Tensor, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
        if math.prod(size) > storage.numel():
            raise ValueError(f"a tensor of {size} in {storage.numel()} numbers")
        return storage.as_strided(size, stride, offset)

    class TensorUnpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if module.startswith("__torch__"):
                return ArchivedModule
            if module == "torch" and name in STORAGES:
                return STORAGES[name]
            if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
                return tensor
            if (module, name) == ("collections", "OrderedDict"):
                return OrderedDict
            if module == "torch.jit._pickle":
                return lambda value, *_: value
            raise pickle.UnpicklingError(f"names {module}.{name}, which is no tensor")

        def persistent_load(self, identity: tuple) -> Tensor:
            _, kind, key, *_ = identity
            if key not in storages:
                storages[key] = torch.frombuffer(bytearray(record(f"data/{key}")), dtype=kind)
            return storages[key]

    data = record("data.pkl")
    if len(data) > LARGEST_PICKLE:
        raise ValueError("its pickle is too large for that of a CLIP")
    return TensorUnpickler(io.BytesIO(data)).load()


def _tensors_of(root: Any) -> Iterator[tuple[str, Tensor]]:
    """Name and value of every tensor below a module, whatever refers to what."""
    seen, waiting = set[int](), [("", root)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, ArchivedModule) and id(value) not in seen and isinstance(vars(value).get("state"), dict):
            seen.add(id(value))
            waiting += [(f"{name}.{key}" if name else str(key), part) for key, part in vars(value)["state"].items()]


def _layers(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name.split(".")[prefix.count(".")] for name in state if name.startswith(prefix)})


def _config(state: Mapping[str, Tensor]) -> ClipConfig:
    def tower(width: int, prefix: str) -> Tower:
        mlp = len(state[f"{prefix}0.mlp.c_fc.weight"])
        return Tower(width, _layers(state, prefix), max(1, width // HEAD_WIDTH), mlp)

    width, _, patch, _ = state["visual.conv1.weight"].shape
    side = math.isqrt(len(state["visual.positional_embedding"]) - 1)
    vocab = len(state["token_embedding.weight"])
    return ClipConfig(
        vision=tower(width, "visual.transformer.resblocks."),
        text=tower(len(state["ln_final.weight"]), "transformer.resblocks."),
        image=side * patch,
        patch=patch,
        positions=len(state["positional_embedding"]),
        vocab=vocab,
        eot=vocab - 1,
        embed=state["text_projection"].shape[1],
    )


def _renamed(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, value in state.items():
        tensor = value.float()
        if name in OUTSIDE_LAYERS:
            yield OUTSIDE_LAYERS[name], tensor
        elif name in TRANSPOSED:
            yield TRANSPOSED[name], tensor.T.contiguous()
        elif name not in NO_PARAMETERS:
            before, _, rest = name.partition("transformer.resblocks.")
            number, _, inner = rest.partition(".")
            layer = f"{'vision' if before == 'visual.' else 'text'}_model.encoder.layers.{number}"
            part, _, kind = inner.rpartition(".")
            if before in ("", "visual.") and part in LAYER:
                yield f"{layer}.{LAYER[part]}.{kind}", tensor
            elif before in ("", "visual.") and inner in ("attn.in_proj_weight", "attn.in_proj_bias"):
                for which, third in zip("qkv", tensor.chunk(3), strict=True):
                    yield f"{layer}.self_attn.{which}_proj.{inner.rpartition('_')[2]}", third
            else:
                raise ValueError(f"'{name}' is not one of them")
