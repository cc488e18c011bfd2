"""A store that is being built: frames are appended, then a line in a journal says so. A kill loses one video.

It lies beside the store (`<store>.partial`), because Snakemake deletes the outputs of a job that failed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from petvr import atomic
from petvr.data.frames.index import INDEX, KEPT, PIXELS, FrameIndex, FrameRecord, Problem, StoreSettings
from petvr.data.frames.stored_frames import remember_verified
from petvr.errors import PetvrError
from petvr.text_files import typed

JOURNAL = "journal.jsonl"


class StoreWriter:
    """Open with `with`; only one process at a time may."""

    def __init__(self, store: Path, settings: StoreSettings):
        self.store, self.settings = store, settings
        self.folder = store_lock(store).parent
        self.index = FrameIndex(settings, {}, {})
        self._frame_bytes = 3 * settings.size**2

    def __enter__(self) -> StoreWriter:
        with contextlib.ExitStack() as stack:
            stack.enter_context(atomic.file_lock(store_lock(self.store), "another process is building this store"))
            try:
                self._resume(stack)
            except OSError as error:
                raise _failed(self.folder, error) from error
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        with contextlib.suppress(OSError):  # what a full disk left unwritten of the journal is decoded again
            self._open.close()

    def _resume(self, stack: contextlib.ExitStack) -> None:
        """Take over what an earlier, interrupted build with the same settings wrote completely."""
        self._end = 0
        header = json.dumps(self.settings.to_json(), sort_keys=True)
        journal, pixels = self.folder / JOURNAL, self.folder / PIXELS
        moved = self.store / PIXELS
        if journal.exists() and not pixels.exists() and moved.exists() and not (self.store / KEPT).exists():
            os.replace(moved, pixels)  # killed within `finish`
        lines = journal.read_text(encoding="utf-8").split("\n")[:-1] if journal.exists() else []
        size = pixels.stat().st_size if pixels.exists() else 0
        good = [header]
        if lines[:1] == [header]:
            for line in lines[1:]:
                try:
                    video, data = json.loads(line)
                    entry = typed(FrameRecord, data, journal)
                except (PetvrError, ValueError, TypeError):
                    break  # torn by a full disk; everything after it is decoded again
                end = entry.end * self._frame_bytes
                if end > size:
                    break
                self.index.videos[video], self._end = entry, end
                good.append(line)
        atomic.write_text(journal, "\n".join(good) + "\n")
        self._pixels = stack.enter_context(open(pixels, "r+b" if pixels.exists() else "w+b", buffering=0))  # noqa: SIM115
        self._pixels.truncate(self._end)
        self._pixels.seek(self._end)
        self._journal = stack.enter_context(open(journal, "a", encoding="utf-8"))  # noqa: SIM115

    def add(self, video: str, pixels: np.ndarray, **facts: Any) -> None:
        """Append uint8 [n, 3, size, size]. Raises PetvrError when it cannot be written; what was added before stays."""
        entry = FrameRecord(offset=self._end // self._frame_bytes, **facts)
        data = memoryview(np.ascontiguousarray(pixels).data).cast("B")
        try:
            written = 0
            while written < len(data):
                written += self._pixels.write(data[written:]) or 0
            self._journal.write(json.dumps([video, asdict(entry)]) + "\n")
            self._journal.flush()
        except OSError as error:
            raise _failed(self.folder / PIXELS, error) from error
        self._end += len(data)
        self.index.videos[video] = entry
        self.index.problems.pop(video, None)

    def fail(self, video: str, problem: Problem) -> None:
        self.index.problems[video] = problem

    def drop(self, video: str) -> None:
        """Forget a video whose source changed; its bytes stay unused in the file."""
        self.index.videos.pop(video, None)

    def finish(self, before: Callable[[], None] = lambda: None) -> None:
        """Put the pixels in their place, then the index, which makes the store complete; remove the partial folder.

        `before` is called when everything is written, just before anything of an older store is replaced.
        """
        try:
            os.fsync(self._pixels.fileno())
            self.store.mkdir(parents=True, exist_ok=True)
            before()
            for name in (INDEX, KEPT):  # never an old index beside new pixels
                (self.store / name).unlink(missing_ok=True)
            os.replace(self.folder / PIXELS, self.store / PIXELS)
            write_index(self.store, self.index)
            remember_verified(self.store, self.index)
            shutil.rmtree(self.folder, ignore_errors=True)
        except OSError as error:
            raise _failed(self.store, error) from error


def store_lock(store: Path) -> Path:
    """What the process that builds `store` holds."""
    return store.with_name(store.name + ".partial") / "lock"


def write_index(store: Path, index: FrameIndex) -> None:
    for name in (KEPT, INDEX):
        atomic.write_text(store / name, json.dumps(atomic.sealed(index.to_json())) + "\n")


def _failed(path: Path, error: OSError) -> PetvrError:
    return PetvrError(f"{path}: cannot be written: {error.strerror or error}; what is decoded is kept, build it again")
