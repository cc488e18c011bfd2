"""The gradient of a batch's contrastive loss from micro-batches: exact, and memory goes with the micro-batch.

Gradient caching [Gao et al. 2021, section 3]: encode everything without a graph; score blocks of micro-batch x
micro-batch pairs without a graph and take the loss of all B x B scores; score every block again, now with its graph, to
carry the loss's gradient to both sides' features; encode every micro-batch again to carry those on to the parameters.

Dropout draws what it would draw for the whole batch (`rng_replay`): no result changes beyond rounding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from petvr.training.model import BatchTensors, Features, Model, contrastive
from petvr.training.rng_replay import DrawAsWhole, PartOfWhole, RngState

Encode = Callable[[slice], Features]


def backward(model: Model, batch: BatchTensors, size: int) -> Tensor:
    """Add the loss's gradients to `.grad` of the trained parameters, `size` samples at a time; returns the loss."""
    samples, videos, rng = len(batch.ids), len(batch.pixels), RngState(model.device)

    def encode_texts(part: slice) -> Features:
        with whole_texts(model), DrawAsWhole(PartOfWhole({length(part): (samples, part.start)})):
            return model.encode_texts(batch.ids[part], batch.sentences and rows(batch.sentences, part))

    before_texts = rng.save()
    texts = leaves(encode_all(encode_texts, samples, size, rng, before_texts))
    sentences = texts["text"].detach()

    def encode_videos(part: slice) -> Features:
        with DrawAsWhole(frames_of_whole(model, batch.mask, part)):
            frames = model.encode_frames(batch.pixels[part], batch.mask[part], sentences)
        with DrawAsWhole(PartOfWhole({length(part): (videos, part.start)})):
            return model.similarity.videos(frames)

    before_videos = rng.save()
    frames = leaves(encode_all(encode_videos, videos, size, rng, before_videos))
    video_of_sample = batch.video_of_sample
    if video_of_sample is None:
        video_of_sample = torch.arange(samples, device=model.device)
    before_scores = rng.save()

    def score(down: slice, across: slice) -> Tensor:
        rng.restore(before_scores)
        part = PartOfWhole({length(across): (samples, across.start)}, {length(down): (samples, down.start)})
        with DrawAsWhole(part):
            return model.levels(rows(texts, down), rows(frames, video_of_sample[across]))

    blocks = [(down, across) for down in slices(samples, size) for across in slices(samples, size)]
    levels = torch.empty(len(model.similarity.LEVELS), samples, samples, device=model.device)
    with torch.no_grad():
        for down, across in blocks:
            levels[:, down, across] = score(down, across)
    after_scores = rng.save()
    levels.requires_grad_()
    loss = contrastive(levels, model.similarity.LEVELS, model.logit_scale)
    loss.backward()
    for down, across in blocks:
        carry([(score(down, across), levels.grad[:, down, across])])
    carry_to_parameters(encode_texts, texts, samples, size, rng, before_texts)
    carry_to_parameters(encode_videos, frames, videos, size, rng, before_videos)
    rng.restore(after_scores)  # the next step draws what it would draw after the batch in one piece
    return loss.detach()


@torch.no_grad()
def encode_all(encode: Encode, count: int, size: int, rng: RngState, start: list[Tensor]) -> Features:
    """All parts without a graph; the generators stand afterwards where one pass over everything leaves them."""
    features: Features = {}
    for part in slices(count, size):
        rng.restore(start)
        for name, tensor in encode(part).items():
            if name not in features:
                features[name] = tensor.new_zeros((count, *tensor.shape[1:]))
            features[name][part] = tensor
    return features


def carry_to_parameters(
    encode: Encode, features: Features, count: int, size: int, rng: RngState, start: list[Tensor]
) -> None:
    """Encode again, part by part, and carry the features' gradients on."""
    for part in slices(count, size):
        rng.restore(start)
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
    """Texts keep the batch's columns: cut to a part's longest they would draw other numbers than the whole does."""
    clip = model.adapted.clip
    before, clip.crop_texts = clip.crop_texts, False
    try:
        yield
    finally:
        clip.crop_texts = before


def frames_of_whole(model: Model, mask: Tensor, part: slice) -> PartOfWhole:
    """Where a part's videos, and their frames that are rows of the vision tower, stand in those of the batch."""
    videos, per_video = mask.shape
    skipped = model.adapted.clip.skips_masked(model.adapted.inserts) and not bool(mask.all())
    first = {length(part): (videos, part.start)}
    if skipped:
        first[int(mask[part].sum())] = (int(mask.sum()), int(mask[: part.start].sum()))
    else:
        first[length(part) * per_video] = (videos * per_video, part.start * per_video)
    return PartOfWhole(first)
