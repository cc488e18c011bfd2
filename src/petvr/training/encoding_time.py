"""How long a trained model takes to encode a video and a text, at the end of a run: no cache, nothing is read."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from petvr.data.frames.store import FrameStore
from petvr.training.batches import BatchReader, FrameReader
from petvr.training.evaluate import FRAMES_PER_BATCH, EvaluationData, encode_captions
from petvr.training.model import Model

TURNS = 3  # timed ones, behind one that warms up


@torch.inference_mode()
def encoding_ms(model: Model, store: FrameStore, videos: Sequence[str], test: EvaluationData) -> tuple[float, float]:
    """Milliseconds a video and a text, medians of TURNS over one of the evaluation's batches.

    `videos`: ids of the test split, of which the first are taken, from their pixels even where the run read its frozen
    beginning from a cache; the texts are the first distinct captions. A method that looks at sentences has those of the
    evaluation, one at a time where it reads a video anew for each query.
    """
    model.set_training(False)
    on, at_once = model.device, test.frames_per_batch or FRAMES_PER_BATCH[model.device.type]
    ids = test.captions.rows(torch.arange(min(at_once, len(test.captions)))).to(on)
    seen = test.captions if test.candidates is None else test.candidates
    sentences = encode_captions(model, seen, at_once, lambda: None)["text"] if model.adapted.needs_texts else None
    if sentences is not None and model.adapted.needs_texts == "query":
        sentences = sentences[:1]
    first = videos[: max(1, at_once // store.frames)]
    reader = BatchReader(FrameReader(store, first, on), lambda _: np.arange(len(first)), 1, len(first), depth=0)
    pixels, mask = reader.read(0)
    pixels = pixels.to(on)
    whole, model.vision = model.vision, model.adapted
    try:
        video = _median_ms(lambda: model.encode_videos(pixels, mask, sentences), on)
        text = _median_ms(lambda: model.encode_texts(ids), on)
    finally:
        model.vision = whole
    return video / len(first), text / len(ids)


def _median_ms(work: Callable[[], object], on: torch.device) -> float:
    timed(work, on)
    return 1e3 * statistics.median(timed(work, on) for _ in range(TURNS))


def timed(work: Callable[[], object], on: torch.device, times: int = 1) -> float:
    """Seconds a call: the clock's on a GPU, the processor's on a CPU."""
    cuda = on.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    start = clock()
    for _ in range(times):
        work()
    if cuda:
        torch.cuda.synchronize(on)
    return (clock() - start) / times
