"""What `petvr serve` asks of a run or an index: videos for a sentence, captions for a file, strips, files to play."""

from __future__ import annotations

import hashlib
import io
import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from petvr.data.datasets import Split
from petvr.data.frames.build import VideoItem, store_settings
from petvr.data.frames.probe import probe
from petvr.data.frames.single import read_videos
from petvr.data.frames.transcode import transcode
from petvr.errors import PetvrError
from petvr.library.video_index import Index
from petvr.search import features, rank
from petvr.search.opened import OpenedRun
from petvr.search.rank import Hit

# what browsers play of what the data sets hold: container by its first name -> codecs, media type
PLAYABLE = {
    "mov": ({"h264", "av1"}, "video/mp4"),
    "mp4": ({"h264", "av1"}, "video/mp4"),
    "matroska": ({"vp8", "vp9", "av1"}, "video/webm"),
    "webm": ({"vp8", "vp9", "av1"}, "video/webm"),
}
SHOWN = 5  # captions of a video
ACROSS = 4  # frames in a row of its picture


@dataclass
class Gallery:
    """One run with the features of a split's videos at hand. Thread-safe: one question is answered at a time."""

    run: OpenedRun
    split: Split
    keep: Path
    lock: threading.Lock = field(default_factory=threading.Lock)

    def prepare(self) -> None:
        """Compute or load what the first question needs, with a progress bar."""
        features.videos(self.run, self.split, self.keep)
        features.captions(self.run, self.split, self.keep)
        self.best_videos("a video", 1)  # the first answer is the slowest

    @cached_property
    def _videos(self) -> dict[str, torch.Tensor]:
        return features.videos(self.run, self.split, self.keep, progress=False)

    @property
    def title(self) -> str:
        return f"{self.run.result.spec.dataset} {self.split.name}"

    @property
    def captions(self) -> tuple[str, ...]:
        return self.split.captions

    def __len__(self) -> int:
        return len(self.split.videos)

    @cached_property
    def _captions_of(self) -> list[list[str]]:
        captions: list[list[str]] = [[] for _ in self.split.videos]
        for text, video in zip(self.split.captions, self.split.caption_video, strict=True):
            captions[video].append(text)
        return captions

    def captions_of(self, number: int) -> list[str]:
        return self._captions_of[number]

    def owner(self, caption: int) -> int:
        """The number of the caption's own video."""
        return self.split.caption_video[caption]

    def name(self, number: int) -> str:
        return self.split.videos[number]

    def window(self, number: int) -> tuple[float, float] | None:
        return self.run.dataset.window(self.split.videos[number])

    def file(self, number: int) -> Path:
        """What the data set names as the video, below its folder of videos. Raises PetvrError for any other place."""
        dataset = self.run.dataset
        path = dataset.video_file(self.split.videos[number])
        if ".." in path.parts or not path.absolute().is_relative_to(dataset.videos.absolute()):
            raise PetvrError(f"{path}: outside the data set's folder of videos")
        return path

    @property
    def about(self) -> dict[str, Any]:
        rule = self.run.result.spec.recipe.selection
        chosen = self.run.result.at(rule)
        said = f"R@1 {chosen.plain['t2v']['R@1']:.1f} on its test split, epoch {chosen.epoch} ({rule})"
        return {"name": self.run.result.id, "said": said, "notes": list(dict.fromkeys(self.run.notes))}

    @torch.inference_mode()
    def best_videos(self, sentence: str, top: int) -> list[Hit]:
        """Raises PetvrError for an empty sentence."""
        with self.lock:
            return rank.rank_videos(self.run, sentence, self._videos, top)

    def best_captions(self, file: Path, top: int) -> tuple[list[str], list[Hit]]:
        """Raises PetvrError for a file that cannot be read."""
        with self.lock:
            shown = rank.pictures_of(self.run.frames, str(file))
            return rank.best_captions(self.run, shown, self.split, top=top, keep=self.keep, progress=False)

    def pictures(self, number: int) -> np.ndarray:
        """uint8 [F, H, W, 3]: the frames the model saw."""
        pixels, mask = self.run.frames.get([self.split.videos[number]])
        return pixels[0][mask[0]].transpose(0, 2, 3, 1)


@dataclass
class IndexGallery:
    """The videos of an index. It holds no captions, and its files are the only ones that are served."""

    index: Index
    title: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    captions: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Loads the model."""
        self.best_videos("a video", 1)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def about(self) -> dict[str, Any]:
        model = self.index.model
        return {"name": model.name, "said": f"encoded by {model.source}", "notes": list(dict.fromkeys(model.notes))}

    def best_videos(self, sentence: str, top: int) -> list[Hit]:
        """Raises PetvrError for an empty sentence."""
        rank.require_sentence(sentence)
        with self.lock:
            return [Hit(one.rank, one.score, one.row) for one in self.index.search(sentence, top)]

    def best_captions(self, file: Path, top: int) -> tuple[list[str], list[Hit]]:
        raise PetvrError("an index holds no captions; petvr serve --run RUN finds some for a video")

    def captions_of(self, number: int) -> list[str]:
        return []

    def owner(self, caption: int) -> int:
        raise IndexError(caption)

    def name(self, number: int) -> str:
        return self.index.record(number)["video"]

    def window(self, number: int) -> None:
        return None

    def file(self, number: int) -> Path:
        return Path(self.index.record(number)["file"])

    def pictures(self, number: int) -> np.ndarray:
        """uint8 [F, H, W, 3]: the frames the model saw, decoded again. Raises PetvrError where they cannot be."""
        recipe, side = self.index.model.spec.recipe, self.index.model.image_size
        rule = store_settings(recipe.sampler, recipe.frames, side, recipe.picture)
        _, frames = next(read_videos([VideoItem(self.name(number), self.file(number))], rule))
        if isinstance(frames, PetvrError):
            raise frames
        return frames.transpose(0, 2, 3, 1)


def strip(gallery: Gallery | IndexGallery, number: int) -> bytes:
    """JPEG of the frames the model saw, in rows of ACROSS."""
    from PIL import Image

    frames = gallery.pictures(number)
    size, across = frames.shape[1], min(len(frames), ACROSS)
    picture = Image.new("RGB", (across * (size + 2) - 2, -(-len(frames) // across) * (size + 2) - 2), "white")
    for index, frame in enumerate(frames):
        picture.paste(Image.fromarray(frame), (index % across * (size + 2), index // across * (size + 2)))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def playable_file(gallery: Gallery | IndexGallery, number: int, cache: Path) -> tuple[Path, str]:
    """A file that browsers play, and its media type; what they do not play is rewritten once into `cache`.

    Only what has a video stream. Raises PetvrError for anything else.
    """
    path = gallery.file(number)
    facts = probe(path)
    codecs, media_type = PLAYABLE.get(facts.container.partition(",")[0], (set[str](), ""))
    if facts.codec in codecs:
        return path, media_type
    stat = path.stat()
    name = hashlib.sha256(f"{path.absolute()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:24]
    copy = cache / f"{name}.mp4"
    with gallery.lock:
        if not copy.exists():
            cache.mkdir(parents=True, exist_ok=True)
            transcode(path, copy)
    return copy, "video/mp4"
