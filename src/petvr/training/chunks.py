"""The gradient of a batch's contrastive loss from chunks of it: exact, and memory goes with the chunk.

Gradient caching [Gao et al. 2021, section 3]: encode everything without a graph; score blocks of chunk x chunk pairs
without a graph and take the loss of all B x B scores; score every block again, now with its graph, to carry the
loss's gradient to both sides' features; encode every chunk again to carry those on to the parameters.

Dropout draws what it would draw for the whole batch (`draws`), so a chunk changes no result beyond rounding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from petvr.training import losses
from petvr.training.draws import AsWhole, Places, Replay
from petvr.training.model import Features, Model

Encode = Callable[[slice], Features]


@dataclass(frozen=True)
class Inputs:
    """A batch of B as the towers read it: ids [B, W], pixels [V, F, 3, H, W], mask [V, F], and the video of each
    sample [B], a row of pixels; None: sample b has row b."""

    ids: Tensor
    pixels: Tensor
    mask: Tensor
    place: Tensor | None

    def videos(self, features: Features) -> Features:
        """Rows of videos -> rows of samples."""
        return features if self.place is None else rows(features, self.place)


def loss(model: Model, inputs: Inputs) -> Tensor:
    """The contrastive loss in one piece, with its graph."""
    texts = model.texts(inputs.ids)
    videos = inputs.videos(model.frames(inputs.pixels, inputs.mask, texts["text"]))
    return losses.contrastive(model.levels(texts, videos), model.similarity.LEVELS, model.logit_scale)


def backward(model: Model, inputs: Inputs, size: int) -> Tensor:
    """Add the loss's gradients to `.grad` of the trained parameters, `size` samples at a time; returns the loss."""
    samples, videos, replay = len(inputs.ids), len(inputs.pixels), Replay(model.device)

    def encode_texts(part: slice) -> Features:
        with whole_texts(model), AsWhole(Places({length(part): (samples, part.start)})):
            return model.texts(inputs.ids[part])

    text_start = replay.now()
    texts = leaves(encoded(encode_texts, samples, size, replay, text_start))
    sentences = texts["text"].detach()

    def encode_videos(part: slice) -> Features:
        with AsWhole(row_places(model, inputs.mask, part)):
            seen = model.look(inputs.pixels[part], inputs.mask[part], sentences)
        with AsWhole(Places({length(part): (videos, part.start)})):
            return model.similarity.videos(seen)

    video_start = replay.now()
    frames = leaves(encoded(encode_videos, videos, size, replay, video_start))
    place = torch.arange(samples, device=model.device) if inputs.place is None else inputs.place
    score_start = replay.now()

    def score(down: slice, across: slice) -> Tensor:
        replay.back(score_start)
        places = Places({length(across): (samples, across.start)}, {length(down): (samples, down.start)})
        with AsWhole(places):
            return model.levels(rows(texts, down), rows(frames, place[across]))

    blocks = [(down, across) for down in slices(samples, size) for across in slices(samples, size)]
    levels = torch.empty(len(model.similarity.LEVELS), samples, samples, device=model.device)
    with torch.no_grad():
        for down, across in blocks:
            levels[:, down, across] = score(down, across)
    end = replay.now()
    levels.requires_grad_()
    found = losses.contrastive(levels, model.similarity.LEVELS, model.logit_scale)
    found.backward()
    for down, across in blocks:
        carry([(score(down, across), levels.grad[:, down, across])])
    again(encode_texts, texts, samples, size, replay, text_start)
    again(encode_videos, frames, videos, size, replay, video_start)
    replay.back(end)  # the next step draws what it would draw after the batch in one piece
    return found.detach()


@torch.no_grad()
def encoded(encode: Encode, count: int, size: int, replay: Replay, start: list[Tensor]) -> Features:
    """All chunks without a graph; the generators stand afterwards where one pass over everything leaves them."""
    found: Features = {}
    for part in slices(count, size):
        replay.back(start)
        for name, tensor in encode(part).items():
            if name not in found:
                found[name] = tensor.new_zeros((count, *tensor.shape[1:]))
            found[name][part] = tensor
    return found


def again(encode: Encode, features: Features, count: int, size: int, replay: Replay, start: list[Tensor]) -> None:
    """Carry the features' gradients on to the parameters, chunk by chunk."""
    for part in slices(count, size):
        replay.back(start)
        pairs = [(out, features[name].grad) for name, out in encode(part).items()]
        if not carry([(out, grad[part]) for out, grad in pairs if grad is not None]):
            return  # a frozen tower


def carry(pairs: list[tuple[Tensor, Tensor]]) -> bool:
    """Back-propagate gradients from outputs; False where none of them has a graph."""
    pairs = [(out, grad) for out, grad in pairs if out.requires_grad]
    if pairs:
        torch.autograd.backward(*(list(part) for part in zip(*pairs, strict=True)))
    return bool(pairs)


def leaves(features: Features) -> Features:
    return {
        name: tensor.requires_grad_() if tensor.is_floating_point() else tensor for name, tensor in features.items()
    }


def rows(features: Features, which: slice | Tensor) -> Features:
    return {name: tensor[which] for name, tensor in features.items()}


def slices(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def length(part: slice) -> int:
    return part.stop - part.start


@contextlib.contextmanager
def whole_texts(model: Model) -> Iterator[None]:
    """Texts keep the batch's columns: cut to a chunk's longest they would draw other numbers than the whole does."""
    clip = model.adapted.clip
    before, clip.crop_texts = clip.crop_texts, False
    try:
        yield
    finally:
        clip.crop_texts = before


def row_places(model: Model, mask: Tensor, part: slice) -> Places:
    """Where a chunk's videos, and their frames that are rows of the vision tower, stand in those of the batch."""
    videos, per_video = mask.shape
    skipped = model.adapted.clip.skip_masked and not model.adapted.inserts.temporal and not bool(mask.all())
    first = {length(part): (videos, part.start)}
    if skipped:
        first[int(mask[part].sum())] = (int(mask.sum()), int(mask[: part.start].sum()))
    else:
        first[length(part) * per_video] = (videos * per_video, part.start * per_video)
    return Places(first)
