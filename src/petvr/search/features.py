"""The video side and the text side of a whole split, computed once and kept beside the run for the next query.

Every similarity computes each side without looking at the other (petvr.similarity), so that only `pairs` is left for a
query. What is too large to keep (patches of every frame) is computed anew, and said so.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from petvr import atomic
from petvr.data.datasets import Split
from petvr.errors import PetvrError, first_line
from petvr.library.backbone import tensors_digest
from petvr.library.text_video import digest_of
from petvr.search.opened import OpenedRun
from petvr.training import evaluate
from petvr.training.model import Features

KEPT_BYTES = 1 << 30


def videos(run: OpenedRun, split: Split, keep: Path, progress: bool = True) -> Features:
    """The video side of every video of the split, in its order."""
    identity = digest_of("videos", run.identity, split.videos, run.sentences)
    candidates = sentences(run, keep, progress)

    def compute(on_batch: Callable[[], None]) -> Features:
        return evaluate.encode_videos(run.model, run.reader(split.videos), None, on_batch, candidates)

    batch = max(1, evaluate.FRAMES_PER_BATCH[run.device.type] // run.frames.frames)
    return _kept(run, keep, f"videos-{split.name}", identity, compute, -(-len(split.videos) // batch), progress)


def captions(run: OpenedRun, split: Split, keep: Path, progress: bool = True) -> tuple[list[str], Features]:
    """The distinct captions of the split, and the text side of each."""
    distinct = list(dict.fromkeys(split.captions))
    texts = run.texts(distinct)
    batch = evaluate.FRAMES_PER_BATCH[run.device.type]

    def compute(on_batch: Callable[[], None]) -> Features:
        return evaluate.encode_captions(run.model, texts, batch, on_batch)

    identity = digest_of("captions", run.identity, distinct)
    features = _kept(run, keep, f"captions-{split.name}", identity, compute, -(-len(distinct) // batch), progress)
    return distinct, features


def sentences(run: OpenedRun, keep: Path, progress: bool = True) -> torch.Tensor | None:
    """Features [C, E] of the sentences a method looks at while it reads a video; None where it looks at none."""
    if not run.sentences:
        return None
    texts, batch = run.texts(run.sentences), evaluate.FRAMES_PER_BATCH[run.device.type]

    def compute(on_batch: Callable[[], None]) -> Features:
        return {"text": evaluate.encode_captions(run.model, texts, batch, on_batch)["text"]}

    identity = digest_of("sentences", run.identity, run.sentences)
    return _kept(run, keep, "sentences", identity, compute, -(-len(texts) // batch), progress)["text"]


def _kept(
    run: OpenedRun,
    keep: Path,
    name: str,
    identity: str,
    compute: Callable[[Callable[[], None]], Features],
    batches: int,
    progress: bool,
) -> Features:
    path = keep / f"{name}-{identity}.safetensors"
    features = _load(path, run)
    if features is None:
        with torch.inference_mode(), _watched(name, batches, progress) as on_batch:
            features = compute(on_batch)
        _save(path, features, run)
        for old in keep.glob(f"{name}-*.safetensors"):
            if old != path:
                old.unlink(missing_ok=True)
    return features


def _load(path: Path, run: OpenedRun) -> Features | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as stored:
            # copied: they lie in the file as it comes, and where a tensor begins decides how its products round
            features = {name: stored.get_tensor(name).clone() for name in stored.keys()}  # noqa: SIM118 it is no dict
            known = (stored.metadata() or {}).get("digest")
        if known is None:  # kept by a version that wrote no checksum
            return None
        if tensors_digest(features) != known:
            raise OSError("its checksum differs")
        return {name: tensor.to(run.device) for name, tensor in features.items()}
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        run.notes.append(f"{path}: damaged ({first_line(error)}); computed anew")
        return None


def _save(path: Path, features: Features, run: OpenedRun) -> None:
    from safetensors.torch import save_file

    size = sum(tensor.numel() * tensor.element_size() for tensor in features.values())
    if size > KEPT_BYTES:
        run.notes.append(f"features of {size / 2**30:.1f} GiB are not kept for the next query")
        return
    try:
        with atomic.replacing(path) as temporary:
            kept = {name: tensor.contiguous().cpu() for name, tensor in features.items()}
            save_file(kept, temporary, {"digest": tensors_digest(kept)})
    except PetvrError as error:  # the answer does not depend on it
        run.notes.append(f"features are not kept for the next query: {error}")


@contextlib.contextmanager
def _watched(name: str, batches: int, progress: bool) -> Iterator[Callable[[], None]]:
    """A step per batch: a bar on a terminal, else one line."""
    if not progress:
        yield lambda: None
    elif not sys.stderr.isatty():
        print(f"search: encoding {name}, once for all queries", file=sys.stderr, flush=True)
        yield lambda: None
    else:
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(f"encoding {name}", total=batches)
            yield lambda: bar.advance(task)
