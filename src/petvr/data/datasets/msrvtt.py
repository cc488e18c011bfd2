"""MSR-VTT: 10,000 clips with 20 captions each; training splits 9k and 7k, test split 1k-A.

Training: every caption of MSRVTT_data.json. Test: the one sentence per clip of MSRVTT_JSFUSION_test.csv. The 497
official validation clips, video6513 to video7009, stand in both training lists: a run that chooses its epoch on them
trains without them. The papers choose it on the test split, and say so or not.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
from pathlib import Path

from petvr import text_files
from petvr.data.datasets.base import Dataset, Split, from_lists, normalise_text, require_unique
from petvr.data.datasets.source import DownloadSource, Mirror
from petvr.errors import PetvrError

C4C = "https://github.com/ArrowLuo/CLIP4Clip/releases/download/v0.0/msrvtt_data.zip"
PARTS = ("train_val_videodatainfo.json", "test_videodatainfo.json")
XPOOL = "https://raw.githubusercontent.com/layer6ai-labs/xpool/bc88718/data/MSRVTT/"


def _list(name: str, size: int, md5: str, sha256: str) -> DownloadSource:
    """The same bytes lie in seven public repositories; one of them, then CLIP4Clip's archive."""
    mirrors = (Mirror(XPOOL + name, size=size, md5=md5, sha256=sha256), Mirror(C4C, "zip"))
    return DownloadSource(name, "annotations", mirrors)


SOURCES = (
    DownloadSource(
        "MSRVTT_data.json",
        "annotations",
        (Mirror(C4C, "zip", note="links of this project were reported gone in 2025-07"),),
        by_hand="MSRVTT_data.json (23 MB) holds videos and sentences of all 10,000 clips; the pages have copies",
        pages=(
            "https://huggingface.co/datasets/friedrichor/MSR-VTT",
            "https://huggingface.co/datasets/AlexZigma/msr-vtt",
        ),
        about_bytes=25_000_000,
    ),
    _list(
        "MSRVTT_train.9k.csv",
        88_899,
        "ef90cc53358a143f2f56692c4e3a7232",
        "0a7ece2418e1f7ac5680555a04ddfef8950293ac3c4bdd6584fb0fa6cc0ff7d3",
    ),
    _list(
        "MSRVTT_train.7k.csv",
        68_999,
        "97e0244f1bd3d0617f3c1f81403937f1",
        "ca0d04c34310168b620c90c67eaec702b37398943965f5e1f9f44af8f193da7d",
    ),
    _list(
        "MSRVTT_JSFUSION_test.csv",
        74_475,
        "612aec578f1324a550ecc552b3bdbf6c",
        "e61144b312c8a2fc2126f96504c981f8c23c05b3ba9655a56e2af50ac8a4b16a",
    ),
    DownloadSource(
        "videos",
        "videos",
        (
            Mirror(
                "https://www.robots.ox.ac.uk/~maxbain/frozen-in-time/data/MSRVTT.zip",
                "zip",
                note="all 10,000 clips at 240p",
            ),
        ),
        by_hand="the official site is gone since 2021; copies at the pages hold the clips, video0.mp4 to video9999.mp4",
        pages=(
            "https://huggingface.co/datasets/friedrichor/MSR-VTT",
            "https://huggingface.co/datasets/AlexZigma/msr-vtt",
            "https://cove.thecvf.com/datasets/839",
        ),
        about_bytes=6_700_000_000,
    ),
)


class Msrvtt9k(Dataset):
    name = "msrvtt-9k"
    title = "MSR-VTT-9k"
    position = 1
    folder = "msrvtt"
    kind = "single"
    train_list = "MSRVTT_train.9k.csv"
    counts = {"train": (9_000, 180_000), "test": (1_000, 1_000)}  # noqa: RUF012
    clips = 10_000
    held_out_kind = "official, in the papers' training lists"
    held_out_sha256 = "be5b1994f643740b80796c392d7b472deed45ddce69ce13fee87609ce303ab3f"
    sources = SOURCES

    def file_names(self, video: str) -> Iterable[str]:
        """Below `videos`, or where Frozen in Time's archive leaves them when it is unpacked as it is."""
        for inner in ("", "all/"):
            yield from (f"{inner}{video}{extension}" for extension in self.extensions)

    def files(self, which: str) -> list[Path]:
        if which != "train":
            return [self.root / "MSRVTT_JSFUSION_test.csv"]
        return [self.root / self.train_list, *self._caption_files()]

    def _caption_files(self) -> list[Path]:
        """MSRVTT_data.json, or the official site's own files, of which it was joined, where those lie there."""
        whole, *parts = (self.root / name for name in ("MSRVTT_data.json", *PARTS))
        return parts if not whole.exists() and any(part.exists() for part in parts) else [whole]

    def _read_split(self, which: str) -> Split:
        return self._train() if which == "train" else self._test()

    def _train(self) -> Split:
        path = self.root / self.train_list
        videos = require_unique([row["video_id"] for row in text_files.read_table(path, ("video_id",)).values()], path)
        captions = self._captions()
        for video in videos:
            if video not in captions:
                raise PetvrError(f"{self.files('train')[-1]}: no sentence of '{video}', which {path.name} lists")
        return from_lists("train", videos, captions)

    def _test(self) -> Split:
        path = self.root / "MSRVTT_JSFUSION_test.csv"
        rows = text_files.read_table(path, ("video_id", "sentence")).values()
        videos = require_unique([row["video_id"] for row in rows], path)
        sentences = tuple(normalise_text(row["sentence"]) for row in rows)
        return Split("test", tuple(videos), sentences, tuple(range(len(videos))))

    def _captions(self) -> dict[str, list[str]]:
        captions: dict[str, list[str]] = collections.defaultdict(list)
        for path in self._caption_files():
            data = text_files.read_json(path, dict)
            before = frozenset(captions)
            for number, sentence in enumerate(text_files.json_field(data, "sentences", path, "top level", list)):
                where = f"sentences[{number}]"
                caption = normalise_text(text_files.json_field(sentence, "caption", path, where))
                if not caption:
                    raise PetvrError(f"{path}: {where}: 'caption' is empty")
                video = text_files.json_field(sentence, "video_id", path, where)
                if video in before:
                    raise PetvrError(f"{path}: {where}: '{video}' has sentences in {PARTS[0]} already")
                captions[video].append(caption)
        return dict(captions)


class Msrvtt7k(Msrvtt9k):
    """7,010 training clips: the official train and validation parts of the challenge; the test split is the same."""

    name = "msrvtt-7k"
    title = "MSR-VTT-7k"
    position = 2
    train_list = "MSRVTT_train.7k.csv"
    counts = {"train": (7_010, 140_200), "test": (1_000, 1_000)}  # noqa: RUF012
