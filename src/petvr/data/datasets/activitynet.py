"""ActivityNet Captions: 14,926 long videos; all sentences of a video, joined by blanks, are its one paragraph.

Whole videos are used. Training on `train`, test on the first annotation of the validation videos, val_1; val_2 is of
the same videos, so that 500 training videos are held out for validation.

paragraph_order  `file` joins in the order of the annotation file, as CLIP4Clip does (95 % of the paragraphs are in
                 time order anyway); `time` sorts by the sentences' start and end.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from petvr import text_files
from petvr.data.datasets.base import Dataset, Split, from_lists, normalise_text, require_unique
from petvr.data.datasets.source import DownloadSource, Mirror, Watch
from petvr.errors import PetvrError

FILES = {"train": "train.json", "test": "val_1.json"}
PREFIX = "v_"
STANFORD = "http://cs.stanford.edu/people/ranjaykrishna/densevid/captions.zip"
COOT = "https://raw.githubusercontent.com/simon-ging/coot-videotext/5b15397/annotations/activitynet/"
FORM = "https://docs.google.com/forms/d/e/1FAIpQLSeKaFq9ZfcmZ7W0B0PbEhfbTHY41GeEgwsa7WobJgGUhn4DTQ/viewform"
HUB = "https://huggingface.co/datasets/friedrichor/ActivityNet_Captions/resolve/main/ActivityNet_Videos.tar.part-{:03d}"
SOURCES = (
    DownloadSource(
        "train.json",
        "annotations",
        (Mirror(STANFORD, "zip"), Mirror(COOT + "train.json", size=4_041_288, md5="818e41728331f2b02ae901af08d42a5c")),
    ),
    DownloadSource(
        "val_1.json",
        "annotations",
        (
            Mirror(STANFORD, "zip"),
            Mirror(
                COOT + "val_1.json",
                size=1_910_790,
                md5="781561275e732a0a61cc5ae6bc77dcd6",
                sha256="466aaccb9ebe45c6db4c98488a4ddbeb5b22faffe62e1bbce81222c14fc29e1c",
            ),
        ),
    ),
    DownloadSource(
        "videos",
        "videos",
        (
            Mirror(
                HUB.format(0),
                "tar",
                tuple(HUB.format(number) for number in range(1, 8)),
                note="re-encoded at low resolution, 42 GB; addresses joined from the names of the parts",
            ),
            Mirror(kind="youtube", note="some 4 to 11 % are gone"),
        ),
        by_hand=(
            f"the original files (220 to 400 GB) come after the request form, {FORM}: unpack v1-2_train.tar.gz, "
            "v1-2_val.tar.gz, v1-3_train_val.tar.gz, then missing_files_trainval.zip, into one folder"
        ),
        pages=(FORM, "https://huggingface.co/datasets/YimuWang/ActivityNet"),
        about_bytes=42_000_000_000,
    ),
)


class Activitynet(Dataset):
    name = "activitynet"
    title = "ActivityNet"
    position = 6
    folder = "activitynet"
    kind = "paragraph"
    counts = {"train": (10_009, 10_009), "test": (4_917, 4_917)}  # noqa: RUF012
    held_out_sha256 = "bf6a0766db6ab7247021b9d7130da2520ebf81d20bb6b25c23b33f9bfb1fa3df"  # val_2 are the test videos
    original_bytes = 400_000_000_000
    sources = SOURCES
    options = {"paragraph_order": ("file", "time")}  # noqa: RUF012
    why = {"paragraph_order": ("code", "CLIP4Clip's loader; no paper says")}  # noqa: RUF012

    def files(self, which: str) -> list[Path]:
        return [self.root / FILES[which]]

    def file_names(self, video: str) -> Iterable[str]:
        """With the `v_` of the annotation (official archives) and without it (downloads by YouTube's own id)."""
        for name in (video, video.removeprefix(PREFIX)):
            yield from (name + extension for extension in self.extensions)

    def youtube(self, video: str) -> Watch:
        return Watch(video.removeprefix(PREFIX))

    def _read_split(self, which: str) -> Split:
        path = self.root / FILES[which]
        entries = text_files.read_json(path, dict)
        videos = require_unique(list(entries), path)
        return from_lists(which, videos, {v: [" ".join(self._sentences(entries[v], v, path))] for v in videos})

    def _sentences(self, entry: Any, video: str, path: Path) -> list[str]:
        listed = text_files.json_field(entry, "sentences", path, f"'{video}'", list)
        if self.chosen["paragraph_order"] == "time":
            listed = [listed[index] for index in _by_time(entry, video, path, len(listed))]
        if not all(isinstance(sentence, str) for sentence in listed):
            raise PetvrError(f"{path}: '{video}': 'sentences' holds something that is no text")
        sentences = [text for text in map(normalise_text, listed) if text]
        if not sentences:
            raise PetvrError(f"{path}: '{video}' has no sentence")
        if len(sentences) < len(listed):
            text_files.say_once(f"{path}: '{video}': {len(listed) - len(sentences)} empty sentence(s) left out")
        return sentences


def _by_time(entry: Any, video: str, path: Path, count: int) -> list[int]:
    """Indices of the sentences by (start, end); the few reversed pairs of the published file are turned."""
    stamps = text_files.json_field(entry, "timestamps", path, f"'{video}'", list)
    try:
        spans = [tuple(sorted((float(start), float(end)))) for start, end in stamps]
    except (TypeError, ValueError, OverflowError) as error:
        raise PetvrError(f"{path}: '{video}': 'timestamps' must be pairs of seconds") from error
    if len(spans) != count:
        raise PetvrError(f"{path}: '{video}': {len(spans)} timestamps for {count} sentences")
    return sorted(range(count), key=spans.__getitem__)
