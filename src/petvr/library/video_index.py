"""Features of many videos, kept as memory-mapped float16 and searched exactly.

Where a model's score is the product of two vectors, the first answer is the last one. Else the videos whose mean frame
is nearest to the text are scored by the run's similarity: a video that is not among those `candidates` is not found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from petvr import atomic
from petvr.data.datasets.base import EXTENSIONS
from petvr.errors import PetvrError
from petvr.library.given import given_path, given_shard, given_whole
from petvr.library.index_build import build_parts, new_part_folder
from petvr.library.index_manifest import read_manifest, write_manifest
from petvr.library.index_part import IndexPart, open_parts
from petvr.library.loading import load_model
from petvr.library.text_video import EncodedTexts, TextVideoModel
from petvr.library.video_files import Record, VideoFile, listed_videos

CANDIDATES = 100  # that are scored in full where a score is not one product
ERROR = 2**-9  # a product of unit vectors in float16, summed in float32, is nearer to the true one than this
PRODUCTS = 1 << 26  # kept at a time


@dataclass(frozen=True)
class VideoMatch:
    """rank from 1; score as `TextVideoModel.score` gives it; video: its id in the index; file: where it lay; row: its
    place in the index.
    """

    rank: int
    score: float
    video: str
    file: Path
    row: int


class Index:
    """Videos that can be searched with a text. Made by `Index.build` or `Index.load`.

    problems: file -> why it is not in the index.
    """

    def __init__(
        self, parts: Sequence[IndexPart], model_facts: Mapping[str, str], model: TextVideoModel | None
    ) -> None:
        self.parts, self.model_facts, self._model = [part for part in parts if len(part.vectors)], model_facts, model
        self.problems = {file: str(one["reason"]) for part in parts for file, one in part.problems.items()}
        self._starts = np.cumsum([0, *(len(part.vectors) for part in self.parts)])
        self._half = all(map(_half_is_enough, self.parts[:1]))

    @classmethod
    def build(
        cls,
        model: TextVideoModel,
        videos: VideoFile | Sequence[VideoFile],
        *,
        to: str | PathLike[str] | None = None,
        shard: tuple[int, int] = (1, 1),
        sentences: Sequence[str] | None = None,
        workers: int = 0,
        progress: bool = False,
    ) -> Index:
        """Encode a folder's videos, or a list of files. What cannot be read is left out and stands in `problems`.

        to: a folder that is written as the work goes on; called again, it encodes what is new or has changed alone.
        shard: (3, 10) takes the third of ten parts of the videos, chosen by their ids. sentences, workers: as in
        `TextVideoModel.encode_video`. Raises PetvrError where there is no video, and where none can be read.
        """
        shard, workers = given_shard(shard), given_whole("workers", workers, 0)
        if not isinstance(model, TextVideoModel):
            raise PetvrError(f"model: {model!r:.60} given, allowed: what petvr.load gives")
        wanted = {item.video: item for item in listed_videos(videos, shard)}
        if not wanted and shard[1] == 1:
            raise PetvrError(f"{videos}: no video in it; allowed endings: {', '.join(EXTENSIONS)}")
        folder = None if to is None else given_path("to", to)
        lock = atomic.file_lock(folder / "lock", "another process is building this index") if folder else nullcontext()
        with lock:
            parts = build_parts(model, wanted, folder, sentences, workers, progress)
            source = os.path.abspath(model.source) if Path(model.source).exists() else model.source
            facts = {"name": model.name, "source": source, "digest": model.digest}
            index = cls(parts, facts, model)
            if wanted and not len(index) and shard[1] == 1:
                file, reason = next(iter(index.problems.items()))
                raise PetvrError(f"none of the {len(wanted)} videos can be read; the first: {file}: {reason}")
            if folder:
                write_manifest(folder, facts, sorted(path.name for path in folder.glob("part-*")))
                index = cls.load(folder, model)
            return index

    def save(self, to: str | PathLike[str]) -> None:
        """Write the index to a new folder. PetvrError where it holds anything."""
        folder = given_path("to", to)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise PetvrError(f"{folder}: is there already; an index is saved to a new folder")
        try:
            for part in self.parts:
                part.write(new_part_folder(folder), self.model_facts["digest"])
        except OSError as error:
            raise PetvrError(f"{folder}: cannot be written: {error.strerror or error}") from error
        write_manifest(folder, self.model_facts, sorted(path.name for path in folder.glob("part-*")))

    @classmethod
    def load(cls, folder: str | PathLike[str], model: TextVideoModel | None = None, *, again: bool = False) -> Index:
        """Open an index, whose files are read for their checksums the first time they are met. model: None loads, when
        it is first needed, the one it was made by. again: read them all whatever is remembered.

        Raises PetvrError for what is no index or damaged, and for an index of another model.
        """
        manifest = read_manifest(given_path("an index", folder))
        facts, names = asdict(manifest.model), manifest.parts
        if model is not None and not isinstance(model, TextVideoModel):
            raise PetvrError(f"model: {model!r:.60} given, allowed: what petvr.load gives")
        if model is not None and model.digest != facts["digest"]:
            raise PetvrError(f"{folder}: made by another model ({facts['name']}) than {model.name}")
        return cls(open_parts(Path(folder), names, facts["digest"], again), facts, model)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def videos(self) -> list[str]:
        """The ids of all videos, in the order of their rows."""
        return [record["video"] for part in self.parts for record in part.records]

    def record(self, row: int) -> Record:
        """What the index knows of a video: its id, and its file as it was."""
        number = int(np.searchsorted(self._starts[1:], row, side="right"))
        return self.parts[number].records[row - int(self._starts[number])]

    @property
    def model(self) -> TextVideoModel:
        if self._model is None:
            model = load_model(self.model_facts["source"])
            if model.digest != self.model_facts["digest"]:
                raise PetvrError(f"{model.source}: has changed since the index was made; make the index again")
            self._model = model
        return self._model

    def search(self, text: str, k: int = 10, *, candidates: int = CANDIDATES) -> list[VideoMatch]:
        """The k best videos for a text, the best first; equal scores in the order of the index.

        candidates: how many are scored in full where the model's score is not one product of two vectors.
        """
        return self.search_many([text], k, candidates=candidates)[0]

    def search_many(self, texts: Sequence[str], k: int = 10, *, candidates: int = CANDIDATES) -> list[list[VideoMatch]]:
        """`search` for many texts at once, which is faster than one after the other."""
        k, candidates = given_whole("k", k), given_whole("candidates", candidates)
        queries = self.model.encode_text(texts)
        full = not self.model.one_vector
        nearest = self.nearest(queries.vectors, max(k, candidates) if full else k)
        if full:
            nearest = [self._scored(queries, row, places) for row, (places, _) in enumerate(nearest)]
        return [self._matches(places[:k], scores[:k]) for places, scores in nearest]

    def nearest(self, queries: np.ndarray, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """float32 [Q, E], length 1 -> of each the k rows with the largest products, and these: exact in float32."""
        best_rows: list[tuple[np.ndarray, np.ndarray]] = []
        step = max(1, PRODUCTS // max(1, len(self)))
        for start in range(0, len(queries), step):
            block = np.ascontiguousarray(queries[start : start + step], np.float32)
            products = self._products(block)
            best_rows += [self._best(query, row, k) for query, row in zip(block, products, strict=True)]
        return best_rows

    def _products(self, queries: np.ndarray) -> np.ndarray:
        """float32 [Q, V], from float16 where that is enough to choose whose true product is formed."""
        if not self.parts:
            return np.empty((len(queries), 0), np.float32)
        if not self._half:
            return np.concatenate([queries @ part.vectors.astype(np.float32).T for part in self.parts], axis=1)
        half = torch.from_numpy(queries).half().T
        return torch.cat([(torch.from_numpy(part.vectors) @ half).float() for part in self.parts]).T.numpy()

    def _best(self, query: np.ndarray, products: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        if not len(products):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        kth = np.partition(products, -min(k, len(products)))[-min(k, len(products))]
        rows = np.flatnonzero(products >= kth - 2 * ERROR)
        wide = query.astype(np.float64)  # so that equal vectors tie, wherever they stand and on any processor
        parts = [part.vectors[own].astype(np.float64) @ wide for part, own in self._by_part(rows)]
        exact = np.concatenate(parts).astype(np.float32)
        order = np.argsort(-exact, kind="stable")[:k]
        return rows[order], exact[order]

    def _by_part(self, rows: np.ndarray) -> Iterator[tuple[IndexPart, np.ndarray]]:
        """Ascending rows of the whole -> the parts that hold some of them, and their rows there."""
        which = np.searchsorted(self._starts[1:], rows, side="right")
        for number in np.unique(which):
            yield self.parts[number], rows[which == number] - self._starts[number]

    @torch.inference_mode()
    def _scored(self, queries: EncodedTexts, row: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The candidates of one text by the run's own similarity, the best first."""
        if not len(places):
            return places, np.empty(0, np.float32)
        model, rows = self.model, np.sort(places)
        similarity = model.model.similarity
        parts = [{name: array[own] for name, array in part.features.items()} for part, own in self._by_part(rows)]
        stored = {name: torch.from_numpy(np.concatenate([one[name] for one in parts])) for name in parts[0]}
        features = {name: tensor.to(model.device) for name, tensor in stored.items()}
        text = similarity.texts({name: tensor[row : row + 1] for name, tensor in queries.features.items()})
        scores = model.model.scores(text, similarity.videos(features))[0].float().cpu().numpy()
        order = np.argsort(-scores, kind="stable")
        return rows[order], scores[order]

    def _matches(self, rows: np.ndarray, scores: np.ndarray) -> list[VideoMatch]:
        matches = []
        for rank, (row, score) in enumerate(zip(rows.tolist(), scores.tolist(), strict=True), 1):
            record = self.record(row)
            matches.append(VideoMatch(rank, score, record["video"], Path(record["file"]), row))
        return matches


def _half_is_enough(part: IndexPart) -> bool:
    """Whether this machine's products of float16 are as near as ERROR says: some sum in float16."""
    rows = torch.from_numpy(np.ascontiguousarray(part.vectors[:1024]))
    exact = rows.float() @ rows[0].float()
    return bool(((rows @ rows[0]).float() - exact).abs().max() < ERROR / 2)
