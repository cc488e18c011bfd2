"""Weights by name: a folder as transformers' CLIPModel saves it (config.json, model.safetensors, tokenizer.json)."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import operator
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from petvr import atomic
from petvr.clip import config as geometry
from petvr.clip.config import ClipConfig
from petvr.clip.tokenizer import from_bpe_file, load_tokenizer
from petvr.clip.towers import Clip
from petvr.errors import PetvrError, first_line
from petvr.text_files import is_pipe_or_device, read_json

FILES = ("model.safetensors", "pytorch_model.bin")
BPE_FILE = "bpe_simple_vocab_16e6.txt.gz"
RECORD = "weights.json"  # the digest at the time they were made
SCALES = 0.1, 10_000.0  # of exp(logit_scale): no recipe trains it further than that
SIZES = ("patch", "positions", "vocab", "embed")
SIZES += tuple(f"{tower}.{key}" for tower in ("vision", "text") for key in ("width", "layers", "heads", "mlp"))
FILLING = {"normal_", "uniform_", "fill_", "zero_"}
FILLING |= {"eye", "zeros_", "ones_", "constant_", "trunc_normal_", "kaiming_uniform_", "xavier_uniform_"}


class SkipMetaInit(TorchFunctionMode):
    """Within it, tensors on the meta device are left alone by what would fill them.

    torch's own way to draw no numbers imports its compiler, which takes a second, and is slow.
    """

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__name__", "") in FILLING:
            tensor = kwargs.get("out", args[0] if args else kwargs.get("tensor"))
            if isinstance(tensor, Tensor) and tensor.is_meta:
                return tensor
        return function(*args, **kwargs)


def load_clip(folder: str | Path) -> Clip:
    """The CLIP in `folder`, fp32 on the CPU. Pickles are never executed: a .bin is read as tensors only.

    Raises PetvrError that names the file for a missing, damaged or mismatched one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PetvrError(f"{folder}: no such weights folder")
    config = geometry.read_config(folder)
    path = _file(folder)
    return filled_clip(config, _tensors(path), path)


def filled_clip(config: ClipConfig, state: dict[str, Tensor], path: Path) -> Clip:
    """A CLIP with the numbers of `state`, which must be all its parameters and no others."""
    state = {name: tensor for name, tensor in state.items() if not name.endswith("position_ids")}
    clip = on_meta(config)
    expected = dict(clip.named_parameters())
    missing, surplus = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing:
        raise PetvrError(f"{path}: {len(missing)} parameters of a CLIPModel are missing, the first is '{missing[0]}'")
    if surplus:
        raise PetvrError(f"{path}: {len(surplus)} names do not belong to a CLIPModel, the first is '{surplus[0]}'")
    for name, parameter in expected.items():
        if parameter.shape != state[name].shape:
            shapes = f"{tuple(state[name].shape)} in the file, {tuple(parameter.shape)} by config.json"
            raise PetvrError(f"{path}: '{name}' has shape {shapes}")
        if not state[name].is_floating_point():
            raise PetvrError(f"{path}: '{name}' holds {state[name].dtype}, allowed: floating-point numbers")
    _allocate(clip)
    with torch.no_grad():
        for name, parameter in clip.named_parameters():
            parameter.copy_(state[name])
    return clip


def save(clip: Clip, folder: str | Path) -> None:
    """Write config.json and model.safetensors so that `load_clip` and transformers' CLIPModel read them."""
    from safetensors.torch import save_file

    folder = Path(folder)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in clip.named_parameters()}
    with atomic.replacing(folder / "model.safetensors") as temporary:
        save_file(state, temporary, metadata={"format": "pt"})
    atomic.write_json(
        folder / "preprocessor_config.json", {"image_mean": clip.config.mean, "image_std": clip.config.std}
    )
    atomic.write_json(folder / "config.json", clip.config.to_hf())


def random(backbone: str | ClipConfig, seed: int | torch.Generator = 0) -> Clip:
    """A CLIP that was never trained, with the scales of CLIP's own initialisation."""
    config = geometry.geometry(backbone) if isinstance(backbone, str) else backbone
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    clip = on_meta(config)
    _allocate(clip)
    with torch.no_grad():
        for tower, part in ((clip.vision_model, config.vision), (clip.text_model, config.text)):
            for name, parameter in tower.named_parameters():
                if "norm" in name:
                    parameter.fill_(1.0 if name.endswith("weight") else 0.0)
                elif name.endswith("bias"):
                    parameter.zero_()
                else:
                    parameter.normal_(std=_std(name, part), generator=generator)
        for projection in (clip.visual_projection, clip.text_projection):
            projection.weight.normal_(std=projection.in_features**-0.5, generator=generator)
        clip.logit_scale.fill_(config.logit_scale)
    return clip


def on_meta(config: ClipConfig) -> Clip:
    """Shapes without memory, to count parameters."""
    with torch.device("meta"), SkipMetaInit():
        return Clip(config)


def fetch(source: str, out: str | Path, like: ClipConfig | None = None) -> ClipConfig:
    """From the hub, a local CLIPModel folder or a file of OpenAI's to a canonical folder, checked before it is there.

    like: the published geometry it must have; its pictures may have another size. Raises PetvrError with the source for
    what cannot be found or read, for parameters or a tokenizer that are missing or of another model, and for NaN.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".fetch.", dir=out) as part:
            try:
                if source.startswith(("/", ".", "~")) and not Path(source).exists():
                    raise PetvrError(f"{source}: no such file or folder")
                if Path(source).is_file():
                    _convert_openai(Path(source), Path(part))
                else:
                    _convert_transformers(source, Path(part))
                config = check_weights(part, like)
                (out / RECORD).unlink(missing_ok=True)
                write_record(part)
                for path in sorted(Path(part).iterdir(), key=lambda path: path.name == "config.json"):
                    os.replace(path, out / path.name)  # config.json last: a folder without it is not read
            except PetvrError as error:
                raise PetvrError(str(error).replace(part, source)) from error
            except Exception as error:  # of the hub, transformers and tokenizers: no common base
                if (reason := atomic.system_reason(error)) in atomic.FULL:
                    raise PetvrError(f"{out}: cannot be written: {reason}") from error
                said = " ".join(str(error).split())[:300] or type(error).__name__
                raise PetvrError(f"{source}: transformers cannot provide this CLIP: {said}") from error
    finally:
        with contextlib.suppress(OSError):
            out.rmdir()  # where nothing came into it
    return config


def check_weights(folder: str | Path, like: ClipConfig | None = None) -> ClipConfig:
    """The geometry of a sound weights folder. Raises PetvrError for what is not whole, finite and like `like`."""
    folder = Path(folder)
    clip = load_clip(folder)
    load_tokenizer(folder)
    for name, parameter in clip.named_parameters():
        if not parameter.isfinite().all():
            raise PetvrError(f"{_file(folder)}: '{name}' holds NaN or infinity")
        if parameter.dim() > 1 and parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
            raise PetvrError(f"{_file(folder)}: '{name}' holds one value everywhere, which no training leaves")
    low, high = SCALES
    if not low <= (scale := float(clip.logit_scale.detach().exp())) <= high:
        raise PetvrError(f"{_file(folder)}: exp(logit_scale) is {scale:.4g}, allowed: {low:g} to {high:g}")
    if like is not None:
        for key, actual, published in zip(SIZES, _sizes(clip.config), _sizes(like), strict=True):
            if actual != published:
                said = f"another geometry than its name says: {key} {actual}, not {published}"
                raise PetvrError(f"{folder / 'config.json'}: {said}")
    return clip.config


def _sizes(config: ClipConfig) -> list[int]:
    return [operator.attrgetter(key)(config) for key in SIZES]


def _convert_transformers(source: str, out: Path) -> None:
    from transformers import AutoTokenizer, CLIPModel
    from transformers.utils import logging as said_by_transformers

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # each of its tries; the last one's reason is ours
    said_by_transformers.set_verbosity_error()
    said_by_transformers.disable_progress_bar()
    folder, files = Path(source), ("tokenizer.json", "vocab.json")
    if folder.is_dir():
        for path in folder.iterdir():
            if is_pipe_or_device(path):
                raise PetvrError(f"{path}: not a file")
        geometry.read_config(folder)
        if not any((folder / name).exists() for name in files):
            raise PetvrError(f"{source}: no tokenizer in it; allowed: tokenizer.json, or vocab.json with merges.txt")
    model, report = CLIPModel.from_pretrained(source, output_loading_info=True)
    for what in ("missing", "unexpected", "mismatched"):
        names = sorted(str(name) for name in report[f"{what}_keys"] if "position_ids" not in str(name))
        if names:
            raise PetvrError(f"{source}: {len(names)} parameters are {what}, the first is '{names[0]}'")
    model.float().save_pretrained(out)
    AutoTokenizer.from_pretrained(source, use_fast=True).save_pretrained(out)
    if not (out / "tokenizer.json").exists():
        raise PetvrError(f"{source}: has no tokenizer that can be saved as tokenizer.json")


def _convert_openai(path: Path, out: Path) -> None:
    from petvr.clip import openai_file

    beside, vocabulary = path.with_name("tokenizer.json"), path.with_name(BPE_FILE)
    if not beside.exists() and not vocabulary.exists():
        raise PetvrError(f"{path}: the file holds no tokenizer: put {BPE_FILE} of github.com/openai/CLIP beside it")
    config, state = openai_file.read_openai(path)
    save(filled_clip(config, state, path), out)
    if beside.exists():
        shutil.copyfile(beside, out / "tokenizer.json")
    else:
        from_bpe_file(vocabulary, out)


def write_record(folder: str | Path) -> None:
    """Note the digest of a folder that was just made, so that a later change of it is no secret."""
    atomic.write_json(Path(folder) / RECORD, {"digest": digest(folder)})


def digest(folder: str | Path, whole: bool = False) -> str:
    """Changes when the weights, the geometry or the tokenizer change; PetvrError if they did since they were made."""
    folder = Path(folder)
    now = _digest(folder, whole)
    if not os.path.lexists(folder / RECORD):  # of an earlier petvr, or made by hand
        return now
    try:
        recorded = read_json(folder / RECORD, dict)["digest"]
    except (PetvrError, KeyError) as error:
        raise PetvrError(f"{folder / RECORD}: cannot be read ({error}); bring the weights again") from error
    if now != recorded:
        raise PetvrError(f"{folder}: altered or damaged since these weights were made (digest {now}, then {recorded})")
    return now


def _digest(folder: Path, whole: bool) -> str:
    """whole: whatever is remembered of files that are as they were."""
    paths = [folder / "config.json", _file(folder), folder / "tokenizer.json"]
    names, total = [path.name for path in paths if path.exists()], hashlib.sha256()
    for name, sha256 in atomic.remembered_sha256(folder, names, again=whole).items():
        total.update(name.encode() + bytes.fromhex(sha256))
    return total.hexdigest()[:16]


def _std(name: str, part: geometry.Tower) -> float:
    """CLIP's own scales: smaller where a layer's output joins the stream, more so the deeper the tower."""
    if name.endswith(("out_proj.weight", "fc2.weight")):
        return part.width**-0.5 * (2 * part.layers) ** -0.5
    if name.endswith("fc1.weight"):
        return (2 * part.width) ** -0.5
    if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
        return part.width**-0.5
    return 0.02


def _allocate(clip: Clip) -> None:
    """Memory for a CLIP on the meta device, without the cost of an initialisation: the caller fills every parameter."""
    clip.load_state_dict(  # to_empty() would do, and import the compiler
        {name: torch.empty(tensor.shape, dtype=tensor.dtype) for name, tensor in clip.state_dict().items()}, assign=True
    )


def _file(folder: Path) -> Path:
    for name in FILES:
        if (folder / name).exists():
            return folder / name
    raise PetvrError(f"{folder}: no weights file; allowed: {', '.join(FILES)}")


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
            raise ValueError("holds something else than named tensors")
        return state
    except Exception as error:  # safetensors, zip and unpickling errors have no common base
        raise PetvrError(f"{path}: not readable as weights: {first_line(error)[:200]}") from error
