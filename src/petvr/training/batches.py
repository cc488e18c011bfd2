"""What a training step reads: which captions meet which videos, their token ids, and frames on the run's device."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from petvr.clip.tokenizer import Tokenizer
from petvr.data.datasets import Split
from petvr.data.frames.store import FrameStore
from petvr.errors import PetvrError, unknown
from petvr.spec import RunSpec
from petvr.training import augment
from petvr.training.determinism import numpy_generator, torch_generator
from petvr.training.model import BatchTensors, Features, Model

POLICIES = ("all_pairs", "one_per_video")
ORDERS = ("by_seed", "fixed")
AHEAD = 1 << 30  # bytes of pinned memory that a GPU's batches are read ahead into
READERS = 4  # threads that do so
TOKENIZED_STEPS = 32  # whose captions are tokenized in one call


@dataclass(frozen=True)
class Batch:
    """Sample b is caption `captions[b]` with its video; `videos` are the distinct ones, sample b's is the
    `video_of_sample[b]`-th of them."""

    captions: np.ndarray
    videos: np.ndarray
    video_of_sample: np.ndarray


class Batches:
    """The batches of a whole run by number, a pure function of seed, epoch and step: a resumed run sees what is left.

    all_pairs: an epoch visits every (video, caption). one_per_video: every video once, with a caption drawn per
    epoch from the run's seed. data_order `fixed` shuffles every run alike (CLIP4Clip's sampler never looks at the
    seed); the drawn captions follow the seed in both (a guess: CLIP4Clip's generators of captions are seeded).
    """

    def __init__(
        self, owner: Sequence[int], *, policy: str, order: str, batch: int, drop_last: bool, seed: int
    ) -> None:
        if policy not in POLICIES:
            raise unknown("caption policy", policy, POLICIES, "recipe.captions")
        if order not in ORDERS:
            raise unknown("data order", order, ORDERS, "recipe.data_order")
        self.owner = np.asarray(owner, dtype=np.int64)
        self.policy, self.order, self.batch, self.seed = policy, order, batch, seed
        self.by_video = np.split(
            np.argsort(self.owner, kind="stable"), np.cumsum(np.bincount(self.owner))[:-1] if len(self.owner) else []
        )
        self.by_video = [captions for captions in self.by_video if len(captions)]
        samples = len(self.owner) if policy == "all_pairs" else len(self.by_video)
        self.per_epoch = samples // batch if drop_last else -(-samples // batch)
        if self.per_epoch == 0:
            raise PetvrError(f"recipe.batch {batch} is larger than the {samples} training samples of an epoch")
        self._epoch = (-1, np.empty(0, np.int64))

    def at(self, step: int) -> Batch:
        """The batch of step `step`, counted from 0 over the whole run."""
        epoch, number = divmod(step, self.per_epoch)
        captions = self._captions(epoch)[number * self.batch : (number + 1) * self.batch]
        videos, video_of_sample = np.unique(self.owner[captions], return_inverse=True)
        return Batch(captions, videos, video_of_sample)

    def _captions(self, epoch: int) -> np.ndarray:
        """The epoch's captions in their order."""
        if self._epoch[0] != epoch:
            if self.policy == "all_pairs":
                samples = np.arange(len(self.owner))
            else:
                sizes = np.array([len(captions) for captions in self.by_video])
                drawn = numpy_generator(self.seed, "captions", epoch).integers(0, sizes)
                samples = np.array([captions[i] for captions, i in zip(self.by_video, drawn, strict=True)])
            shuffle = numpy_generator(self.seed, "order", epoch)
            if self.order == "fixed":
                shuffle = numpy_generator(0, "fixed order", epoch)
            self._epoch = (epoch, samples[shuffle.permutation(len(samples))])
        return self._epoch[1]


class Sentences(Protocol):
    """What a frozen text tower gives for distinct captions (petvr.training.frozen_feature_cache)."""

    def sentences(self, which: Tensor, device: torch.device) -> Features: ...


class TokenizedCaptions:
    """Distinct captions, numbered as they come, and which of them each caption is: `distinct` int64 [C].

    Equal captions get equal features that way, and their ties stay ties. A caption is tokenized when it is first asked
    for: of MSR-VTT's 180,000 a training sees a quarter. full_width: no batch is cut to its longest caption.
    frozen: where the text tower is frozen.
    """

    def __init__(
        self, captions: Sequence[str], tokenize: Tokenizer, max_tokens: int, *, full_width: bool = False
    ) -> None:
        number = {caption: index for index, caption in enumerate(dict.fromkeys(captions))}
        self.texts, self.tokenize, self.max_tokens, self.full_width = list(number), tokenize, max_tokens, full_width
        self.distinct = torch.tensor([number[caption] for caption in captions], dtype=torch.int64)
        self.frozen: Sentences | None = None
        self._ids = torch.zeros((len(number), max_tokens), dtype=torch.int64)
        self._lengths = torch.zeros(len(number), dtype=torch.int64)  # 0: not tokenized yet

    def __len__(self) -> int:
        return len(self.texts)

    def tokenized(self, which: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """ids [U, W] and lengths [U] of distinct captions, or of all; a length counts SOT and EOT."""
        which = torch.arange(len(self)) if which is None else which
        new = torch.unique(which[self._lengths[which] == 0])
        if len(new):
            ids = self.tokenize([self.texts[index] for index in new.tolist()], self.max_tokens)
            self._ids[new], self._lengths[new] = ids, (ids == self.tokenize.eot).int().argmax(dim=1) + 1
        return self._ids[which], self._lengths[which]

    def rows(self, which: Tensor) -> Tensor:
        """ids of distinct captions, without the padding that all of them have: what follows EOT changes no feature."""
        ids, lengths = self.tokenized(which)
        return ids if self.full_width else ids[:, : int(lengths.max())]

    def read(self, which: Tensor, device: torch.device) -> tuple[Tensor, Features | None]:
        """ids of distinct captions, and what a frozen text tower gives for them, on the device."""
        sentences = None if self.frozen is None else self.frozen.sentences(which, device)
        return self.rows(which).to(device, non_blocking=True), sentences


class FrameSource(Protocol):
    """A frame store, or what stands in for it (petvr.training.frozen_feature_cache)."""

    @property
    def frames(self) -> int: ...
    def rows(self, ids: Sequence[str]) -> np.ndarray: ...
    def counts(self, ids: Sequence[str]) -> np.ndarray: ...
    def buffer(self, videos: int, pinned: bool) -> Tensor: ...
    def fill(self, rows: np.ndarray, buffer: Tensor) -> np.ndarray: ...


class StoredPictures:
    """A frame store as a source: uint8 [V, F, 3, S, S]; normalisation happens on the device."""

    def __init__(self, store: FrameStore) -> None:
        self.store, self.frames, self.rows, self.counts = store, store.frames, store.rows, store.counts

    def buffer(self, videos: int, pinned: bool) -> Tensor:
        size = self.store.size
        return torch.empty((videos, self.frames, 3, size, size), dtype=torch.uint8, pin_memory=pinned)

    def fill(self, rows: np.ndarray, buffer: Tensor) -> np.ndarray:
        """Write these videos' frames into the buffer; returns their mask [V, F]."""
        return self.store.get_rows(rows, (buffer.numpy(), np.empty((len(rows), self.frames), bool)))[1]


class FrameReader:
    """The videos of one split by number, on a device."""

    def __init__(self, source: FrameStore | FrameSource, ids: Sequence[str], device: torch.device) -> None:
        self.source = StoredPictures(source) if isinstance(source, FrameStore) else source
        self.device, self.rows = device, source.rows(ids)
        empty = np.flatnonzero(source.counts(ids) == 0)
        if len(empty):
            raise PetvrError(f"video '{ids[empty[0]]}' has no frame in the store")

    @property
    def videos(self) -> int:
        return len(self.rows)

    @property
    def frames(self) -> int:
        return self.source.frames


class BatchReader:
    """Frames of batches by number, in buffers that are used again and again.

    For a GPU, threads fill pinned buffers and copy them on a stream of their own, up to `depth` batches ahead. On the
    CPU there is one buffer, filled when it is asked for: what was given is gone with the next batch. videos_at(n) names
    the videos of batch n of `count`, at most `largest` of them.
    """

    def __init__(
        self, reader: FrameReader, videos_at: Callable[[int], np.ndarray], count: int, largest: int,
        depth: int | None = None,
    ) -> None:  # fmt: skip
        self.source, self.rows, self.device = reader.source, reader.rows, reader.device
        self.videos_at, self.count = videos_at, count
        cuda = self.device.type == "cuda"
        first = self.source.buffer(largest, cuda)
        if depth is None:
            depth = min(8, max(2, AHEAD // max(1, first.nbytes))) if cuda else 0
        self.free: queue.SimpleQueue[Tensor] = queue.SimpleQueue()
        for buffer in [first, *(self.source.buffer(largest, cuda) for _ in range(min(depth, count) - 1))]:
            self.free.put(buffer)
        self.depth, self.pool = depth, ThreadPoolExecutor(min(READERS, depth)) if depth else None
        self.stream = torch.cuda.Stream(self.device) if cuda else None
        self.waiting: dict[int, Future[tuple[Tensor, Tensor]]] = {}

    def read(self, number: int) -> tuple[Tensor, Tensor]:
        """What the source gives of the batch's videos, on the device, and the mask bool [V, F] on the CPU."""
        if self.pool is None:
            buffer = self.free.get()
            self.free.put(buffer)
            return self._fill(number, buffer)
        ahead = range(number, min(number + self.depth, self.count))
        self.waiting = {n: self.waiting.get(n) or self.pool.submit(self._load, n) for n in ahead}
        frames, mask = self.waiting.pop(number).result()
        if self.stream is not None:  # its memory may be taken for another batch when this stream is through with it
            frames.record_stream(torch.cuda.current_stream(self.device))
        return frames, mask

    def _load(self, number: int) -> tuple[Tensor, Tensor]:
        buffer = self.free.get()
        try:
            frames, mask = self._fill(number, buffer)
            if self.stream is None:
                return frames.clone(), mask
            with torch.cuda.stream(self.stream):
                frames = frames.to(self.device, non_blocking=True)
                copied = self.stream.record_event()
            copied.synchronize()
            return frames, mask
        finally:
            self.free.put(buffer)

    def _fill(self, number: int, buffer: Tensor) -> tuple[Tensor, Tensor]:
        rows = self.rows[self.videos_at(number)]
        return buffer[: len(rows)], torch.from_numpy(self.source.fill(rows, buffer[: len(rows)]))


@dataclass
class TrainingData:
    """The batches of a run as tensors. once_per_video: a video that several samples of a batch share is encoded once.

    crop_flip: X-Pool's augmentation; `normalise` then gives the cropped pixels CLIP's mean and std.
    """

    batches: Batches
    captions: TokenizedCaptions
    frames: BatchReader
    seed: int
    once_per_video: bool
    crop_flip: bool
    normalise: Callable[[Tensor], Tensor]

    def at(self, step: int, device: torch.device) -> BatchTensors:
        """The batch of step `step`; each of its videos is read once."""
        if step % TOKENIZED_STEPS == 0:
            soon = [self.batches.at(step + ahead).captions for ahead in range(TOKENIZED_STEPS)]
            self.captions.tokenized(self.captions.distinct[torch.from_numpy(np.concatenate(soon))])
        batch = self.batches.at(step)
        ids, sentences = self.captions.read(self.captions.distinct[torch.from_numpy(batch.captions)], device)
        pixels, mask = self.frames.read(step)
        video = torch.from_numpy(batch.video_of_sample)
        video_of_sample: Tensor | None = video.to(device, non_blocking=True)
        if not self.once_per_video:
            if len(batch.videos) < len(batch.captions):
                pixels, mask = pixels[video_of_sample], mask[video]
            video_of_sample = None
        if self.crop_flip:
            pixels = augment.crop_flip(pixels, torch_generator(self.seed, "augment", step))
            pixels = self.normalise(pixels)
        return BatchTensors(ids, pixels, mask, video_of_sample, sentences)


def open_training_data(
    spec: RunSpec, split: Split, model: Model, frames: FrameStore | FrameSource, tokenize: Tokenizer
) -> TrainingData:
    recipe = spec.recipe
    if not model.trained:
        raise PetvrError(f"{spec.id}: method '{spec.method}' trains nothing under this recipe; set train: false")
    batches = Batches(
        split.caption_video,
        policy=recipe.captions,
        order=recipe.data_order,
        batch=recipe.batch,
        drop_last=recipe.drop_last,
        seed=spec.seed,
    )
    reader = FrameReader(frames, split.videos, model.device)
    full_width = model.compiled  # each batch as long and as wide as the others
    captions = TokenizedCaptions(split.captions, tokenize, recipe.words, full_width=full_width)
    return TrainingData(
        batches=batches,
        captions=captions,
        frames=BatchReader(
            reader,
            lambda step: batches.at(step).videos,
            batches.per_epoch * recipe.epochs,
            min(recipe.batch, reader.videos),
        ),
        seed=spec.seed,
        once_per_video=recipe.augment == "none" and not model.stochastic and not model.compiled,
        crop_flip=recipe.augment == "crop_flip",
        normalise=model.adapted.clip.normalise,
    )
