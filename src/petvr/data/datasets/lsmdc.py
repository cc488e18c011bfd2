"""LSMDC 2016: some 118,000 cut clips of 202 films, one sentence a row; 1,000 of them are the test.

The annotation files end in .csv and are tab-separated without a header or quoting. A training clip may have several
rows; each is a pair. The 7,408 validation rows are not the test split of any paper.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from petvr import text_files
from petvr.data.datasets.base import EXTENSIONS, Dataset, Split, normalise_text, require_unique, safe_file_name
from petvr.data.datasets.source import DownloadSource, Login, Mirror
from petvr.errors import PetvrError

FILES = {
    "train": "LSMDC16_annos_training.csv",
    "val": "LSMDC16_annos_val.csv",
    "test": "LSMDC16_challenge_1000_publictect.csv",  # the misspelling is the official name
}
COLUMNS = ("clip id", "start aligned", "end aligned", "start extracted", "end extracted", "sentence")
LOGIN = Login("datasets.d2.mpi-inf.mpg.de", "LSMDC_USER", "LSMDC_PASSWORD")
BASE = "http://datasets.d2.mpi-inf.mpg.de/movieDescription/protected/lsmdc2016/"
REQUEST = "https://sites.google.com/site/describingmovies/download"
BY_HAND = f"ask MPII for access at {REQUEST} (research only, no copies allowed); then set LSMDC_USER, LSMDC_PASSWORD"
LINKS = {"videos-mpii": "MPIIMD_downloadLinks.txt", "videos-mvad": "MVADaligned_downloadLinks.txt"}
BYTES = {"videos-mpii": 655_000_000_000, "videos-mvad": 486_000_000_000}
SOURCES = (
    *(
        DownloadSource(name, "annotations", (Mirror(BASE + name, login=LOGIN),), by_hand=BY_HAND, pages=(REQUEST,))
        for name in (*FILES.values(), *LINKS.values())
    ),
    *(
        DownloadSource(
            key,
            "videos",
            (Mirror(kind="links", login=LOGIN, note=f"one file per clip, from {name}"),),
            by_hand=BY_HAND,
            pages=(REQUEST, "https://moviedescription.mpi-inf.mpg.de"),
            about_bytes=BYTES[key],
        )
        for key, name in LINKS.items()
    ),
)
TIMES = re.compile(r"_\d\d\.\d\d\.\d\d\.\d{3}-\d\d\.\d\d\.\d\d\.\d{3}$")


def film(clip: str) -> str:
    """`1004_Some_Film_00.10.05.100-00.10.08.300` -> `1004_Some_Film`, the folder a clip lies in."""
    return TIMES.sub("", clip)


class Lsmdc(Dataset):
    name = "lsmdc"
    title = "LSMDC"
    position = 4
    folder = "lsmdc"
    kind = "single"
    counts = {"train": (101_046, 101_079), "val": (7_408, 7_408), "test": (1_000, 1_000)}  # noqa: RUF012
    clips = 109_487  # rows of all splits; how many distinct ones train has is one user's word
    uncertain = frozenset({"train"})
    sources = SOURCES
    extensions = (".avi", ".mp4", *(e for e in EXTENSIONS if e not in (".avi", ".mp4")))

    def files(self, which: str) -> list[Path]:
        return [self.root / FILES[which]]

    def file_names(self, video: str) -> Iterable[str]:
        """In the film's folder as the official script leaves it; all clips in one folder as some copies have it."""
        yield from (f"{film(video)}/{video}{extension}" for extension in self.extensions)
        yield from (video + extension for extension in self.extensions)

    def links(self, source: str) -> Iterable[tuple[str, str]]:
        """From the official lists, one address a line; a clip goes into its film's folder."""
        path = self.root / LINKS[source]
        for number, line in text_files.numbered_lines(path):
            address = line.split()[0]
            try:
                leaf = urlsplit(address).path.rpartition("/")[2]
            except ValueError:
                leaf = ""
            if not address.startswith(("http://", "https://")) or not leaf:
                raise PetvrError(f"{path}: line {number} is no address of a file")
            yield f"{film(PurePosixPath(safe_file_name(leaf, path)).stem)}/{leaf}", address

    def _read_split(self, which: str) -> Split:
        path = self.root / FILES[which]
        rows = [self._row(line, number, path) for number, line in text_files.numbered_lines(path)]
        if which != "train":
            require_unique([clip for clip, _ in rows], path)
        index = {clip: number for number, clip in enumerate(dict.fromkeys(clip for clip, _ in rows))}
        if not index:
            raise PetvrError(f"{path}: lists no video")
        return Split(which, tuple(index), tuple(text for _, text in rows), tuple(index[clip] for clip, _ in rows))

    @staticmethod
    def _row(line: str, number: int, path: Path) -> tuple[str, str]:
        parts = line.split("\t")
        if len(parts) != len(COLUMNS):
            raise PetvrError(
                f"{path}: line {number} has {len(parts)} columns, expected {len(COLUMNS)} "
                f"({', '.join(COLUMNS)}), separated by tabs"
            )
        clip, sentence = parts[0].strip(), normalise_text(parts[-1])
        if not clip or not sentence:
            raise PetvrError(f"{path}: line {number}: the {'sentence' if clip else 'clip id'} is empty")
        return safe_file_name(clip, path), sentence
