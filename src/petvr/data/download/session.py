"""One call of `petvr download` on one folder: what it was asked for, and what its parts share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from petvr.data.download.dataset_folder import DatasetFolder
from petvr.data.download.failures import Cancelled
from petvr.data.download.progress import SilentProgress
from petvr.data.download.retry import RetryPolicy
from petvr.data.download.web import Web
from petvr.errors import PetvrError

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True)
class DownloadOptions:
    """What a call asks for; the fields of `download` in config.yaml and the command's options."""

    parallel: int = 4
    archives: str = "delete"
    youtube_parallel: int = 2
    youtube_cookies: Path | None = None
    youtube_height: int = 480
    annotations_only: bool = False
    optional: bool = False
    fill: bool = False


@dataclass
class DownloadSession:
    folder: DatasetFolder
    options: DownloadOptions
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    progress: SilentProgress = field(default_factory=SilentProgress)
    changed: bool = False  # whether anything arrived

    def __post_init__(self) -> None:
        self.web = Web(self.retry)

    def parallel(self, act: Callable[[Item], Value], items: Iterable[Item], workers: int) -> list[Value]:
        """`act` on every item, in threads. An interruption or error stops the others at their next block of bytes."""
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(act, item) for item in items]
            try:
                for done in as_completed(futures):
                    done.result()
            except BaseException as error:
                self.retry.halt.set()
                pool.shutdown(cancel_futures=True)
                if isinstance(error, PetvrError) and not isinstance(error, Cancelled):
                    self.retry.halt.clear()  # this mirror is done with, the call is not
                raise
            return [future.result() for future in futures]
