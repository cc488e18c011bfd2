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
from petvr.errors import PetvrError
from petvr.search.opened import Opened, mark
from petvr.training import evaluate
from petvr.training.model import Features

KEPT_BYTES = 1 << 30


def videos(run: Opened, split: Split, keep: Path, progress: bool = True) -> Features:
    """The video side of every video of the split, in its order."""
    identity = mark("videos", run.made_of, split.videos, run.sentences)
    candidates = sentences(run, keep, progress)

    def make(pause: Callable[[], None]) -> Features:
        return evaluate.video_sides(run.model, run.reader(split.videos), None, pause, candidates)

    batch = max(1, evaluate.PICTURES[run.place.type] // run.frames.frames)
    return _kept(run, keep, f"videos-{split.name}", identity, make, -(-len(split.videos) // batch), progress)


def captions(run: Opened, split: Split, keep: Path, progress: bool = True) -> tuple[list[str], Features]:
    """The distinct captions of the split, and the text side of each."""
    distinct = list(dict.fromkeys(split.captions))
    texts = run.texts(distinct)
    batch = evaluate.PICTURES[run.place.type]

    def make(pause: Callable[[], None]) -> Features:
        return evaluate.text_sides(run.model, texts, batch, pause)

    identity = mark("captions", run.made_of, distinct)
    found = _kept(run, keep, f"captions-{split.name}", identity, make, -(-len(distinct) // batch), progress)
    return distinct, found


def sentences(run: Opened, keep: Path, progress: bool = True) -> torch.Tensor | None:
    """Features [C, E] of the sentences a method looks at while it reads a video; None where it looks at none."""
    if not run.sentences:
        return None
    texts, batch = run.texts(run.sentences), evaluate.PICTURES[run.place.type]

    def make(pause: Callable[[], None]) -> Features:
        return {"text": evaluate.text_sides(run.model, texts, batch, pause)["text"]}

    identity = mark("sentences", run.made_of, run.sentences)
    return _kept(run, keep, "sentences", identity, make, -(-len(texts) // batch), progress)["text"]


def _kept(run: Opened, keep: Path, name: str, identity: str, make: Callable, batches: int, progress: bool) -> Features:
    path = keep / f"{name}-{identity}.safetensors"
    found = _load(path, run)
    if found is None:
        with torch.inference_mode(), _watched(name, batches, progress) as step:
            found = make(step)
        _save(path, found, run)
        for old in keep.glob(f"{name}-*.safetensors"):
            if old != path:
                old.unlink(missing_ok=True)
    return found


def _load(path: Path, run: Opened) -> Features | None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device=str(run.place))
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError) as error:
        run.notes.append(f"{path}: damaged ({str(error).splitlines()[0]}); computed anew")
        return None


def _save(path: Path, found: Features, run: Opened) -> None:
    from safetensors.torch import save_file

    size = sum(tensor.numel() * tensor.element_size() for tensor in found.values())
    if size > KEPT_BYTES:
        run.notes.append(f"features of {size / 2**30:.1f} GiB are not kept for the next query")
        return
    try:
        with atomic.replacing(path) as temporary:
            save_file({name: tensor.contiguous().cpu() for name, tensor in found.items()}, temporary)
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
