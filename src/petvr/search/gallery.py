"""What `petvr serve` asks of a run: videos for a sentence, captions for a file, strips, and files browsers play."""

from __future__ import annotations

import hashlib
import io
import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from petvr.data.datasets import Split
from petvr.data.frames.probe import probe
from petvr.data.frames.transcode import transcode
from petvr.errors import PetvrError
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

    @cached_property
    def captions_of(self) -> list[list[str]]:
        """By the number of the video."""
        captions: list[list[str]] = [[] for _ in self.split.videos]
        for text, video in zip(self.split.captions, self.split.caption_video, strict=True):
            captions[video].append(text)
        return captions

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
            return rank.best_captions(self.run, str(file), self.split, top=top, keep=self.keep, progress=False)

    def strip(self, number: int) -> bytes:
        """JPEG of the frames the model saw, in rows of ACROSS."""
        from PIL import Image

        pixels, mask = self.run.frames.get([self.split.videos[number]])
        frames = pixels[0][mask[0]].transpose(0, 2, 3, 1)
        size, across = frames.shape[1], min(len(frames), ACROSS)
        picture = Image.new("RGB", (across * (size + 2) - 2, -(-len(frames) // across) * (size + 2) - 2), "white")
        for index, frame in enumerate(frames):
            picture.paste(Image.fromarray(frame), (index % across * (size + 2), index // across * (size + 2)))
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=85)
        return stream.getvalue()


def playable_file(gallery: Gallery, number: int, cache: Path) -> tuple[Path, str]:
    """A file that browsers play, and its media type; what they do not play is rewritten once into `cache`.

    Only what the data set names as a video, below its folder of videos, and only what has a video stream.
    Raises PetvrError for anything else.
    """
    dataset, video = gallery.run.dataset, gallery.split.videos[number]
    path = dataset.video_file(video)
    root = dataset.videos.absolute()
    if ".." in path.parts or not path.absolute().is_relative_to(root):
        raise PetvrError(f"{path}: outside the data set's folder of videos")
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
