"""A finished run brought back to life."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from petvr.clip import weights as clip_weights
from petvr.data.datasets import Dataset, Split
from petvr.data.frames.index import SourceFingerprint
from petvr.data.frames.store import FrameStore
from petvr.errors import PetvrError
from petvr.library.loading import opened_model
from petvr.library.shared_folder import ADAPTER, read_tensors
from petvr.library.text_video import TextVideoModel
from petvr.result import Result
from petvr.training.batches import FrameReader, TokenizedCaptions
from petvr.training.candidate_texts import candidate_captions
from petvr.training.determinism import prepare_device
from petvr.training.model import Model


@dataclass
class OpenedRun:
    """The model, and what it was evaluated with."""

    result: Result
    text_video: TextVideoModel
    frames: FrameStore
    dataset: Dataset
    identity: dict[str, str]  # what features depend on, beside the videos or captions themselves

    @property
    def model(self) -> Model:
        return self.text_video.model

    @property
    def device(self) -> torch.device:
        return self.text_video.device

    @property
    def notes(self) -> list[str]:
        """What a person should know."""
        return self.text_video.notes

    def split(self, name: Literal["train", "val", "test"]) -> Split:
        """One split without the videos that have no frames. Raises PetvrError where that leaves nothing."""
        official = self.dataset.split(name)
        available = official.keep(self.frames.ids)
        if not available.videos:
            raise PetvrError(
                f"{self.frames.path}: holds none of the {len(official.videos)} videos of split '{name}'; "
                "frames are made of the splits train and test"
            )
        return available

    def texts(self, captions: tuple[str, ...] | list[str]) -> TokenizedCaptions:
        return TokenizedCaptions(captions, self.text_video.tokenize, self.result.spec.recipe.words)

    def reader(self, videos: tuple[str, ...]) -> FrameReader:
        return FrameReader(self.frames, videos, self.device)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """What the method looks at while it reads a video, as in the run's evaluation; empty for most methods."""
        which = self.model.adapted.needs_texts
        if not which:
            return ()
        training = self.split("train").captions if which == "fixed" else ()
        chosen = candidate_captions(which, training)
        return tuple(dict.fromkeys(self.split("test").captions if chosen is None else chosen))


def open_run(
    folder: Path,
    *,
    weights: Path,
    store: Path,
    dataset: Dataset,
    device: str | None = None,
    threads: int | None = None,
    code: dict[str, int] | None = None,
) -> OpenedRun:
    """The run whose result.json and adapter.safetensors lie in `folder`.

    code: versions of the code that features depend on today, so that those kept by older code are not used.
    Raises PetvrError where one of these files is missing or does not belong to the run: weights of another digest, a
    store of other frames, trained tensors of other names.
    """
    result = Result.read(folder / "result.json")
    spec = result.spec
    on = prepare_device(device, threads)
    digest = clip_weights.digest(weights)
    if digest != result.provenance.weights_digest:
        raise PetvrError(f"{weights}: other weights than the run was trained on ({result.provenance.weights_digest})")
    frames = FrameStore(store)
    for key in ("sampler", "frames", "picture"):
        if getattr(frames, key) != getattr(spec.recipe, key):
            raise PetvrError(
                f"{store}: {key} {getattr(frames, key)}, the run was made with {getattr(spec.recipe, key)}"
            )
    state = {}
    if spec.train:
        result.check_file(folder, ADAPTER)
        state = read_tensors(folder / ADAPTER)
    clip = clip_weights.load_clip(weights), weights
    text_video = opened_model(spec, clip, state, folder / ADAPTER, digest, str(on), None)
    if frames.digest != result.data.frames_digest:
        text_video.note("the frame store has changed since the run: scores may differ from those behind its ranks")
    if text_video.model.adapted.needs_texts == "query":
        text_video.note("pool=query: searched with the test captions as candidates, not with each query alone")
    identity = {
        "spec": result.provenance.spec_digest,
        "adapter": repr(SourceFingerprint.of(folder / ADAPTER)),
        "weights": digest,
        "frames": frames.digest,
        "device": on.type,
        "code": repr(sorted((code or {}).items())),
    }
    return OpenedRun(result, text_video, frames, dataset, identity)
