"""A trained run as one object: texts and video files go in, features and scores come out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from petvr import methods
from petvr.clip.tokenizer import Tokenizer
from petvr.data.frames.build import VideoItem, store_settings
from petvr.data.frames.progress import video_progress
from petvr.data.frames.single import read_videos
from petvr.errors import PetvrError
from petvr.library.given import given_list, given_whole
from petvr.library.video_files import VideoFile, Window, video_items
from petvr.similarity._head import mean_of, unit
from petvr.spec import RunSpec
from petvr.training.batches import TokenizedCaptions
from petvr.training.evaluate import FRAMES_PER_BATCH, put_rows
from petvr.training.model import Features, Model


@dataclass(frozen=True)
class Encoded:
    """One row for each of `names`: what the towers give of it, on the model's device, and one vector of length 1.

    vectors: float32 [N, E]; a text's product with a video's is their score where the model's similarity has one vector
    for a video, else the first stage of a search: the cosine of the text with the mean of the frames.
    """

    names: tuple[str, ...]
    features: Features = field(repr=False)
    vectors: np.ndarray = field(repr=False)
    model_digest: str = field(repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self.vectors if dtype is None else self.vectors.astype(dtype)


class EncodedTexts(Encoded):
    """What `TextVideoModel.encode_text` gives."""


class EncodedVideos(Encoded):
    """What `TextVideoModel.encode_video` gives."""


class TextVideoModel:
    """A trained text-video retrieval model, in evaluation mode. Made by `petvr.load`.

    name: the run's id. source: where it was loaded from. clip_folder: where its CLIP lies. digest: changes with
    anything its features depend on. notes: what a person should know, e.g. that a method's code has changed since the
    training. sentences: what the method looks at while it reads a video.
    """

    def __init__(
        self, model: Model, tokenize: Tokenizer, spec: RunSpec, *, digest: str, source: Path, clip_folder: Path
    ) -> None:
        model.set_training(False)
        self.model, self.tokenize, self.spec, self.digest = model, tokenize, spec, digest
        self.source, self.clip_folder = str(source), clip_folder
        self.sentences: tuple[str, ...] = ()
        self.notes: list[str] = []
        self.name = spec.id

    def settings_of(self, part: str) -> dict[str, Any]:
        """Every setting of one part of the method, defaults included."""
        return methods.settings(self.spec.method, self.spec.setting)[part]

    def __repr__(self) -> str:
        rule = f"{self.spec.recipe.frames} frames by {self.spec.recipe.sampler}"
        return f"TextVideoModel({self.name}, {self.spec.recipe.similarity}, {rule}, {self.device})"

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def image_size(self) -> int:
        """Side in pixels of the pictures that CLIP reads."""
        return self.model.adapted.image_size

    @property
    def one_vector(self) -> bool:
        """Whether a video is one vector whatever the text: a search then needs no second stage."""
        return self.model.similarity.ONE_VECTOR

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str], *, batch_size: int | None = None) -> EncodedTexts:
        """Texts as the run reads captions: cleaned, cut to its number of tokens. A longer one leaves a note.

        Raises PetvrError where something is no text.
        """
        names = _strings(texts)
        if not names:
            return EncodedTexts((), {}, np.empty((0, self.model.adapted.embed_dim), np.float32), self.digest)
        longest = self.spec.recipe.words
        lengths = {name: len(tokens) + 2 for name, tokens in zip(names, self.tokenize.tokens(names), strict=True)}
        if cut := [name for name in names if lengths[name] > longest]:
            first = f"{cut[0]!r:.60} has {lengths[cut[0]]}"
            self.note(f"the run reads {longest} tokens of a text, start and end included; {first}: its end is cut off")
        captions = TokenizedCaptions(names, self.tokenize, longest)
        order = torch.argsort(captions.tokenized()[1], stable=True, descending=True)
        distinct: Features = {}
        for part in order.split(_batch(batch_size, FRAMES_PER_BATCH[self.device.type])):
            given = self.model.encode_sentences(captions.rows(part).to(self.device))
            put_rows(distinct, part, given, len(captions))
        features = {name: tensor[captions.distinct.to(self.device)] for name, tensor in distinct.items()}
        return EncodedTexts(names, features, unit(features["text"].float()).cpu().numpy(), self.digest)

    def encode_video(
        self,
        videos: Sequence[VideoFile],
        *,
        windows: Sequence[Window | None] | None = None,
        sentences: Sequence[str] | None = None,
        batch_size: int | None = None,
        workers: int = 0,
        progress: bool = False,
    ) -> EncodedVideos:
        """Video files, sampled, decoded and scaled as the run's were.

        windows: the part of each to look at, in seconds (start, end). sentences: for methods that look at candidate
        sentences while they read a video, instead of the model's own. batch_size: videos at a time. workers: decoding
        processes; 0 decodes in this process, which works without a main guard and in notebooks.
        Raises PetvrError naming the first file that cannot be read.
        """
        items = video_items(videos, windows)
        features: Features = {}
        vectors = np.empty((len(items), self.model.adapted.embed_dim), np.float32)
        with video_progress(progress, "videos")(len(items)) as step:
            for rows, given, errors in self.encode_batches(items, sentences, batch_size, workers):
                for error in errors.values():
                    raise error
                put_rows(features, torch.tensor(rows), given, len(items))
                vectors[rows] = self.video_vectors(given)
                for _ in rows:
                    step()
        return EncodedVideos(tuple(str(item.path) for item in items), features, vectors, self.digest)

    def encode_batches(
        self,
        items: Sequence[VideoItem],
        sentences: Sequence[str] | None = None,
        batch_size: int | None = None,
        workers: int = 0,
    ) -> Iterator[tuple[list[int], Features, Mapping[int, PetvrError]]]:
        """(numbers of some items, what the towers give of them, number -> why another one cannot be read)."""
        recipe, workers = self.spec.recipe, given_whole("workers", workers, 0)
        candidates = self._candidates(sentences) if items else None
        size = _batch(batch_size, max(1, FRAMES_PER_BATCH[self.device.type] // recipe.frames))
        rows: list[int] = []
        pictures: list[np.ndarray] = []
        errors: dict[int, PetvrError] = {}
        rule = store_settings(recipe.sampler, recipe.frames, self.image_size, recipe.picture)
        for number, pixels in read_videos(items, rule, workers=workers):
            if isinstance(pixels, PetvrError):
                errors[number] = pixels
            else:
                rows.append(number)
                pictures.append(pixels)
            if len(rows) == size or (errors and not rows):
                yield rows, self.encode_pictures(pictures, candidates) if rows else {}, errors
                rows, pictures, errors = [], [], {}
        if rows or errors:
            yield rows, self.encode_pictures(pictures, candidates) if rows else {}, errors

    @torch.inference_mode()
    def encode_pictures(self, videos: Sequence[np.ndarray], candidates: Tensor | None) -> Features:
        """Decoded frames uint8 [n, 3, S, S] of each video, n at most the run's frames -> what the towers give."""
        frames, size = self.spec.recipe.frames, self.image_size
        pixels = torch.zeros((len(videos), frames, 3, size, size), dtype=torch.uint8)
        mask = torch.zeros((len(videos), frames), dtype=torch.bool)
        for row, pictures in enumerate(videos):
            pixels[row, : len(pictures)] = torch.from_numpy(pictures)
            mask[row, : len(pictures)] = True
        return self.model.encode_frames(pixels.to(self.device), mask, candidates)

    @torch.inference_mode()
    def video_vectors(self, features: Features) -> np.ndarray:
        """float32 [M, E], length 1: the similarity's own vector of a video, or the mean of its frames."""
        if self.one_vector:
            vectors = self.model.similarity.videos(features)["video"]
        else:
            vectors = mean_of(features["frames"].float(), features["mask"])
        return vectors.float().cpu().numpy()

    @torch.inference_mode()
    def score(self, texts: Sequence[str] | EncodedTexts, videos: Sequence[VideoFile] | EncodedVideos) -> np.ndarray:
        """float32 [texts, videos], by the run's similarity, before CLIP's logit scale: those behind the run's ranks."""
        sides = texts if isinstance(texts, Encoded) else self.encode_text(texts)
        if isinstance(videos, Encoded):
            clips: Encoded = videos
        else:  # a method that looks at all texts that are searched for sees those
            looks = self.model.adapted.needs_texts in ("gallery", "query") and not self.sentences
            clips = self.encode_video(videos, sentences=sides.names if looks else None)
        for encoded, kind in ((sides, EncodedTexts), (clips, EncodedVideos)):
            if not isinstance(encoded, kind):
                raise PetvrError(f"score: {type(encoded).__name__} given, {kind.__name__} expected: texts, then videos")
            if encoded.model_digest != self.digest:
                raise PetvrError(f"score: features of another model; encode them with {self.name}")
        if not len(sides) or not len(clips):
            return np.zeros((len(sides), len(clips)), np.float32)
        similarity = self.model.similarity
        scores = self.model.scores(similarity.texts(sides.features), similarity.videos(clips.features))
        return scores.float().cpu().numpy()

    def note(self, line: str) -> None:
        """Keep a line for `notes`, once."""
        if line not in self.notes:
            self.notes.append(line)

    def _candidates(self, sentences: Sequence[str] | None) -> Tensor | None:
        needed = self.model.adapted.needs_texts
        if not needed:
            if sentences is not None:
                raise PetvrError(f"{self.name}: its method looks at no sentences; leave sentences out")
            return None
        chosen = self.sentences if sentences is None else _strings(sentences)
        if not chosen:
            which = "all texts that will be searched for" if needed != "fixed" else "a fixed set of training captions"
            raise PetvrError(
                f"{self.name}: its method looks at candidate sentences while it reads a video; pass sentences=[...]: "
                f"in the run's evaluation they were {which}"
            )
        encoded = self.encode_text(chosen)
        return self.model.similarity.texts(encoded.features)["text"]


def digest_of(*parts: object) -> str:
    """16 hexadecimal digits that change with any of the parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _strings(texts: Sequence[str]) -> tuple[str, ...]:
    listed = given_list(texts, "text")
    for number, text in enumerate(listed):
        if not isinstance(text, str):
            raise PetvrError(f"text {number}: {text!r:.60} is no text but {type(text).__name__}")
        if not text.strip():
            raise PetvrError(f"text {number} is empty")
        try:
            text.encode()
        except UnicodeEncodeError as error:  # half a surrogate pair
            raise PetvrError(f"text {number}: {text!r:.60} is no text in UTF-8") from error
    return tuple(listed)


def _batch(given: int | None, usual: int) -> int:
    return usual if given is None else given_whole("batch_size", given)
