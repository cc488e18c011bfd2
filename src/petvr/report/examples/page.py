"""A folder that needs nothing else: index.html, strips of the frames the model saw, and the videos it shows."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from petvr import atomic
from petvr.data.datasets import Dataset
from petvr.data.frames.store import FrameStore
from petvr.errors import PetvrError
from petvr.report.examples.choose import Group
from petvr.search.answers import SplitAnswers

TITLE = "petvr: examples of"
GAP = 2  # pixels between two frames of a strip
SHOWN = 3  # videos of a query
LARGEST = 64 << 20  # bytes of a video that is copied; of a larger one the page names the path


@dataclass
class RunExamples:
    """A run on the page."""

    name: str
    answers: SplitAnswers
    said: str  # R@1 and what chose the epoch


@dataclass
class Page:
    title: str
    groups: list[Group]
    runs: list[RunExamples]
    dataset: Dataset
    frames: FrameStore
    notes: list[str] = field(default_factory=list)


def frame_strip(frames: FrameStore, video: str) -> np.ndarray:
    """uint8 [H, F * W and gaps, 3]: the frames the model saw, side by side."""
    pixels, mask = frames.get([video])
    return joined(list(pixels[0][mask[0]].transpose(0, 2, 3, 1)))


def joined(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures [H, W, 3] side by side, GAP white columns between."""
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)


def require_own(folder: Path) -> None:
    """PetvrError where `write_page` would remove what is not its own: `videos` of a data set's folder, for one."""
    if folder.exists() and not folder.is_dir():
        raise PetvrError(f"{folder}: a file, allowed: a folder")
    page = folder / "index.html"
    ours = page.is_file() and TITLE in page.read_text(encoding="utf-8", errors="replace")
    if not ours and any((folder / name).exists() for name in ("strips", "videos")):
        raise PetvrError(
            f"{folder}: strips/ and videos/ there are of no such page and would be replaced; name a new folder"
        )


def write_page(page: Page, folder: Path, single: Path | None = None) -> Path:
    """`folder`/index.html; what an earlier page left there goes. `single`: also as one file, without videos."""
    for name in ("strips", "videos"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    media = _Media(page, folder)
    groups = [
        {"group": group, "queries": [_query(page, index, media) for index in group.captions]} for group in page.groups
    ]
    folders = [Path(__file__).parent, Path(__file__).parents[1] / "tables"]  # the tables' style is everybody's
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    path, template = folder / "index.html", environment.get_template("examples.html.j2")
    atomic.write_text(path, template.render(page=page, groups=groups))
    if single is not None:
        media.put_inside()
        atomic.write_text(single, template.render(page=page, groups=groups))
    return path


class _Media:
    """Strips and videos by number, each written once: names of videos never become paths."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page, self.folder, self.shown = page, folder, dict[str, dict[str, Any]]()

    def of(self, video: str) -> dict[str, Any]:
        if video not in self.shown:
            number = f"{len(self.shown) + 1:04d}"
            strip = frame_strip(self.page.frames, video)
            Image.fromarray(strip).save(self.folder / "strips" / f"{number}.jpg", quality=88)
            self.shown[video] = {
                "id": video,
                "strip": f"strips/{number}.jpg",
                "frames": int(self.page.frames.counts([video])[0]),
            }
            self.shown[video] |= self._link(video, number)
        return self.shown[video]

    def put_inside(self) -> None:
        """What the queries show of the videos becomes part of the page itself: the strips alone."""
        for shown in self.shown.values():
            strip = base64.b64encode((self.folder / shown["strip"]).read_bytes()).decode()
            shown["strip"] = f"data:image/jpeg;base64,{strip}"
            shown.pop("video", None), shown.pop("file", None)

    def _link(self, video: str, number: str) -> dict[str, str]:
        """A copy beside the page, which is named by the file's own ending alone."""
        file = self.page.dataset.video_file(video)
        if not file.is_file() or file.stat().st_size > LARGEST:
            return {"file": str(file)}
        copy = self.folder / "videos" / f"{number}{file.suffix.lower()}"
        try:
            os.link(file.resolve(), copy)
        except OSError:
            shutil.copyfile(file, copy)
        window = self.page.dataset.window(video)
        return {"video": f"videos/{copy.name}" + (f"#t={window[0]:g},{window[1]:g}" if window else "")}


def _query(page: Page, caption: int, media: _Media) -> dict[str, Any]:
    split = page.runs[0].answers.split
    own = split.caption_video[caption]
    return {
        "caption": split.captions[caption],
        "own": media.of(split.videos[own]),
        "runs": [_of_run(run.answers, caption, own, media) for run in page.runs],
    }


def _of_run(answers: SplitAnswers, caption: int, own: int, media: _Media) -> dict[str, Any]:
    videos = answers.split.videos
    scores = answers.scores[answers.text_of[caption]]
    above, tied = int((scores > scores[own]).sum()), int((scores == scores[own]).sum()) - 1
    hits = [
        {"video": media.of(videos[index]), "score": score, "right": index == own}
        for index, score in answers.best_videos(caption, SHOWN)
    ]
    return {"rank": above + 1, "tied": tied, "own_score": float(scores[own]), "hits": hits}


def both_on_one_split(answers: Sequence[SplitAnswers]) -> bool:
    return all((one.split.videos, one.split.captions) == (answers[0].split.videos, answers[0].split.captions)
               for one in answers)  # fmt: skip
