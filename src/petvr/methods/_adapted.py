"""CLIP with one or more methods in it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from petvr import atomic
from petvr.clip.insert import Inserts
from petvr.clip.tokenizer import Tokenizer
from petvr.clip.towers import Clip
from petvr.errors import PetvrError
from petvr.methods._declare import BuildContext, Declaration, Insert
from petvr.methods._registry import REGISTRY


class Adapted(nn.Module):
    """CLIP (`clip`) and what methods added to it (`new`, by method). Encodes as Clip does.

    tokenize: texts to ids, where the CLIP came with its tokenizer.
    """

    tokenize: Tokenizer | None = None

    def __init__(self, clip: Clip, parts: dict[str, Declaration], train_logit_scale: bool | None):
        super().__init__()
        self.clip = clip
        self.new = nn.ModuleDict({name: part.module for name, part in parts.items() if part.module is not None})
        self.inserts = Inserts(clip.config)
        self.needs_texts = next((part.needs_texts for part in parts.values() if part.needs_texts), "")
        self.stochastic = any(part.stochastic for part in parts.values())
        for name, part in parts.items():
            self.inserts.temporal |= part.temporal
            for insert in part.insert:
                try:
                    self.inserts.add(insert.tower, insert.place, insert.fn, insert.layers)
                except PetvrError as error:
                    raise PetvrError(f"method '{name}': {error}") from error
        for name, parameter in clip.named_parameters():
            parameter.requires_grad_(any(part.train(name) for part in parts.values()))
            parameter.grad = None
        if train_logit_scale is not None:
            clip.logit_scale.requires_grad_(train_logit_scale)

    @property
    def logit_scale(self) -> nn.Parameter:
        return self.clip.logit_scale

    @property
    def embed_dim(self) -> int:
        return self.clip.embed_dim

    @property
    def image_size(self) -> int:
        return self.clip.image_size

    def normalise(self, pixels: Tensor) -> Tensor:
        return self.clip.normalise(pixels)

    def encode_frames(
        self, pixels: Tensor, mask: Tensor | None = None, texts: Tensor | None = None, start_block: int | None = None
    ) -> Tensor:
        """pixels [B, F, 3, H, W], mask [B, F], texts [C, E] -> [B, F, E], as Clip.encode_frames."""
        return self.clip.encode_frames(pixels, mask, self.inserts, texts, start_block)

    def encode_patches(
        self, pixels: Tensor, mask: Tensor | None = None, texts: Tensor | None = None, start_block: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """pixels [B, F, 3, H, W], mask [B, F], texts [C, E] -> [B, F, E], [B, F, P, E], as Clip.encode_patches."""
        return self.clip.encode_patches(pixels, mask, self.inserts, texts, start_block)

    def frozen_blocks(self, tower: str) -> int:
        """How many of a tower's first blocks give what CLIP alone gives, whatever is trained: nothing acts in or before
        them and nothing of them trains. -1: not even what block 0 reads; one more than there are: all of the tower,
        its projection too.
        """
        depth = self.inserts.layers[tower]
        acts = self.inserts.first(tower)
        frozen = depth + 1 if acts is None else acts
        for name, parameter in self.clip.named_parameters():
            if parameter.requires_grad and (block := _block_of(name, tower, depth)) is not None:
                frozen = min(frozen, block)
        return frozen

    def encode_texts(self, ids: Tensor) -> Tensor:
        """ids [B, W] -> [B, E], as Clip.encode_texts."""
        return self.clip.encode_texts(ids, self.inserts)

    def encode_words(self, ids: Tensor) -> Tensor:
        """ids [B, W] -> [B, W, E], as Clip.encode_words."""
        return self.clip.encode_words(ids, self.inserts)

    def encode_all_words(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ids [B, W] -> [B, E], [B, W, E], [B, W], as Clip.encode_all_words."""
        return self.clip.encode_all_words(ids, self.inserts)

    def trainable(self) -> dict[str, nn.Parameter]:
        """Name -> parameter, exactly those with requires_grad."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    @staticmethod
    def part(name: str) -> str:
        """Which group of learning rates a name of `trainable` belongs to: "clip" or "new"."""
        return "clip" if name.startswith("clip.") else "new"

    def counts(self) -> dict[str, int]:
        """Numbers (not bytes): trainable in "clip" and in "new", and "total" with everything frozen."""
        counts = {"clip": 0, "new": 0}
        for name, parameter in self.trainable().items():
            counts[self.part(name)] += parameter.numel()
        return {**counts, "total": sum(parameter.numel() for parameter in self.parameters())}

    def save(self, path: str | Path) -> None:
        """The trainable parameters alone, as safetensors."""
        from safetensors.torch import save_file

        state = {name: parameter.detach().cpu().contiguous() for name, parameter in self.trainable().items()}
        with atomic.replacing(path) as temporary:
            save_file(state, temporary)

    def load(self, path: str | Path) -> None:
        """What `save` wrote, into the same method and setting; PetvrError if names or shapes are not those."""
        from safetensors.torch import load_file

        if not Path(path).exists():
            raise PetvrError(f"{path}: no such adapter")
        try:
            state = load_file(path)
        except Exception as error:  # safetensors raises its own errors
            raise PetvrError(f"{path}: not readable as safetensors: {error}") from error
        mine = self.trainable()
        odd = sorted(mine.keys() ^ state.keys())
        if odd:
            raise PetvrError(f"{path}: is no adapter of this method and setting: '{odd[0]}' is only on one side")
        for name, parameter in mine.items():
            if parameter.shape != state[name].shape:
                shapes = f"{tuple(state[name].shape)}, not {tuple(parameter.shape)}"
                raise PetvrError(f"{path}: is no adapter of this method and setting: '{name}' has shape {shapes}")
        with torch.no_grad():
            for name, parameter in mine.items():
                parameter.copy_(state[name])


BEHIND = {
    "vision": ("vision_model.post_layernorm.", "visual_projection."),
    "text": ("text_model.final_layer_norm.", "text_projection."),
}


def _block_of(name: str, tower: str, depth: int) -> int | None:
    """The block of a parameter of the tower; -1 before the blocks, `depth` behind them; None: it is not the tower's."""
    if name.startswith(f"{tower}_model.encoder.layers."):
        return int(name.split(".")[3])
    if name.startswith(BEHIND[tower]):
        return depth
    return -1 if name.startswith(f"{tower}_model.") else None


def build_adapted(
    clip: Clip,
    complete: dict[str, dict[str, Any]],
    frames: int,
    words: int,
    generator: torch.Generator,
    train_logit_scale: bool | None,
) -> Adapted:
    """New modules are made where CLIP is: on its device, and without memory when CLIP is on the meta device.

    torch's layers initialise themselves from the global generator: it is seeded from `generator` for that, and put
    back afterwards.
    """
    device = clip.logit_scale.device
    settings = {name: REGISTRY.typed(name, values) for name, values in complete.items()}
    build = BuildContext(clip, frames, words, generator, settings)
    parts = {}
    for name in complete:
        with torch.random.fork_rng(devices=[]), torch.device("meta" if device.type == "meta" else "cpu"):
            torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator, device="cpu")))
            parts[name] = _declaration(name, build)
        if (module := parts[name].module) is not None and device.type != "meta":
            module.to(device)
    return Adapted(clip, parts, train_logit_scale)


def _declaration(name: str, build: BuildContext) -> Declaration:
    declare = getattr(REGISTRY.module(name), "declare", None)
    if declare is not None:
        declaration = _call(name, declare, build)
        _require_kinds(name, declaration)
        return declaration
    if REGISTRY.declared(name).similarity is None:
        raise PetvrError(f"method '{name}': its file has neither `declare` nor SIMILARITY")
    return Declaration()  # what trains is the similarity


def _call(name: str, declare: Callable[..., Declaration], build: BuildContext) -> Declaration:
    try:
        inspect.signature(declare).bind(build.parts[name], build)
    except TypeError as error:
        raise PetvrError(f"method '{name}': `declare` is not of the form declare(settings, build): {error}") from error
    return declare(build.parts[name], build)


def _require_kinds(name: str, given: Any) -> None:
    """A Declaration of what it should hold; who trains the parameters of something else nobody would notice."""
    if not isinstance(given, Declaration):
        raise PetvrError(f"method '{name}': `declare` returns a {type(given).__name__}, allowed: a Declaration")
    if not isinstance(given.module, nn.Module | None):
        raise PetvrError(f"method '{name}': module is a {type(given.module).__name__}, allowed: an nn.Module or None")
    parameters = [] if given.module is None else list(given.module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        raise PetvrError(f"method '{name}': module has {len(parameters)} parameters, and none of them trains")
    if not isinstance(given.insert, list) or not all(isinstance(one, Insert) for one in given.insert):
        raise PetvrError(f"method '{name}': insert is a {type(given.insert).__name__}, allowed: a list of Insert")
