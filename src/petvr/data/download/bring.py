"""A whole data set: each source from the first mirror that gives it, annotation files before videos."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from petvr.data.datasets.source import Source
from petvr.data.download.deliver import deliver
from petvr.data.download.failures import Changed, Full, Gated, Halted, Temporary
from petvr.data.download.patience import Patience
from petvr.data.download.place import GOOD, WORK, Place, State, Status, look, name_of
from petvr.data.download.progress import Quiet
from petvr.data.download.web import Web
from petvr.errors import PetvrError

T = TypeVar("T")


@dataclass(frozen=True)
class Wishes:
    """What a call asks for; the fields of `download` in config.yaml and the command's options."""

    parallel: int = 4
    archives: str = "delete"
    youtube_parallel: int = 2
    youtube_cookies: Path | None = None
    youtube_height: int = 480
    annotations_only: bool = False
    optional: bool = False
    fill: bool = False


def bring(place: Place, wishes: Wishes, patience: Patience | None = None, watch: Quiet | None = None) -> list[State]:
    """Bring what is not there and write the mark. Returns the state of every source.

    Raises PetvrError only where nothing could be done at all: another call is at work, a state file is damaged.
    """
    return Bringing(place, wishes, patience or Patience(), watch or Quiet()).all()


class Bringing:
    def __init__(self, place: Place, wishes: Wishes, patience: Patience, watch: Quiet):
        self.place, self.wishes, self.patience, self.watch = place, wishes, patience, watch
        self.web = Web(patience)
        self.changed = False  # whether anything arrived

    def all(self) -> list[State]:
        states: dict[str, State] = {}
        with _alone(self.place.state), contextlib.closing(self.web):
            try:
                self._appeared()
                early = [source for source in self.place.sources if source.gives == "annotations"]
                for state in self.parallel(self._one, early, self.wishes.parallel):
                    states[state.key] = state
                for source in self.place.sources:
                    if source.gives == "videos":
                        states[source.key] = self._one(source)
                self._unmatched(states)
            finally:
                self.place.lock.flush()
                self.place.missing.flush()
                for home in (self.place.root, self.place.videos):
                    with contextlib.suppress(OSError):  # it still holds something, or is the user's
                        (home / WORK).rmdir()
            ordered = [states[source.key] for source in self.place.sources]
            for source, state in zip(self.place.sources, ordered, strict=True):
                if state.gives == "annotations" and state.status not in GOOD:  # did the videos come without it?
                    state.optional = look(self.place, source, self.wishes.fill).optional
            if all(state.status in GOOD or state.optional for state in ordered):
                self._tidy()
            self.place.write(ordered)
            if self.changed and self.place.done.exists():
                self.place.done.touch()  # the workflow then looks at the data again
        return ordered

    def parallel(self, act: Callable[[Source], T], items: Iterable[Source], workers: int) -> list[T]:
        """`act` on every item, in threads. An interruption or error stops the others at their next block of bytes."""
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(act, item) for item in items]
            try:
                for done in as_completed(futures):
                    done.result()
            except BaseException as error:
                self.patience.halt.set()
                pool.shutdown(cancel_futures=True)
                if isinstance(error, PetvrError) and not isinstance(error, Halted):
                    self.patience.halt.clear()  # this mirror is done with, the call is not
                raise
            return [future.result() for future in futures]

    def _one(self, source: Source) -> State:
        """One source, whatever becomes of it."""
        state = look(self.place, source, self.wishes.fill)
        if state.status != "absent" or (state.optional and not self.wishes.optional):
            return state
        if source.gives == "videos" and self.wishes.annotations_only:
            return state
        if not source.mirrors:
            state.status = "gated"
            state.reason = state.reason or "cannot be downloaded"
            return state
        if source.gives == "videos":
            try:
                _ = self.place.wanted
            except PetvrError as error:
                state.status, state.reason = "deferred", self.place.waits(error)
                return state
        return self._mirrors(source, state)

    def _mirrors(self, source: Source, state: State) -> State:
        """The first mirror that gives it; a source whose videos began to come from one mirror stays with it."""
        begun = self.place.lock.came_from(source.key)
        mirrors = [mirror for mirror in source.mirrors if begun in (None, name_of(mirror))]
        problems: list[PetvrError] = []
        for mirror in mirrors:
            self.watch.say(f"{self.place.folder}: {source.key} from {name_of(mirror)}")
            try:
                deliver(self, source, mirror)
                self.changed |= mirror.kind not in ("links", "youtube")
            except Halted:
                raise
            except (Changed, Full) as error:
                problems = [error]
                break
            except OSError as error:
                problems = [Full(f"{error.filename or self.place.state}: {error.strerror or error}")]
                break
            except PetvrError as error:
                self.watch.say(f"{self.place.folder}: {source.key}: {error}")
                problems.append(error)
            else:
                return self._brought(source, state, name_of(mirror))
        state.status = _status(problems)
        state.reason = "; ".join(map(str, problems)) or f"mirror {begun} is no longer among the sources"
        state.next = _next(self.place, source, state.status)
        return state

    def _brought(self, source: Source, state: State, mirror: str) -> State:
        fresh = look(self.place, source, self.wishes.fill)
        if source.gives == "annotations":
            state.status, state.reason, state.next, state.mirror = "brought", "", "", mirror
            return state
        if fresh.status == "absent":  # some videos were put off
            again = self.place.missing.count("missing_deferred", source.key)
            fresh.status, fresh.reason = "partly", f"{fresh.reason}, {again:,} put off"
            fresh.next = f"petvr download {self.place.folder} tries them again"
        fresh.mirror = mirror
        return fresh

    def _tidy(self) -> None:
        """What killed calls left half, now that nothing is waited for."""
        for home, given in zip((self.place.root, self.place.videos), self.place.given, strict=True):
            if not given:
                shutil.rmtree(home / WORK, ignore_errors=True)

    def _appeared(self) -> None:
        """Videos that someone put there since."""
        if self.place.missing.videos:
            with contextlib.suppress(PetvrError):  # no annotation files yet
                absent = set(self.place.absent())
                for video in list(self.place.missing.videos):
                    if video not in absent:
                        self.place.missing.found(video)

    def _unmatched(self, states: dict[str, State]) -> None:
        """Once every source of videos gave what it has, a video without a file is in none of them."""
        videos = [state for state in states.values() if state.gives == "videos" and not state.optional]
        if not videos or any(state.status != "brought" for state in videos):
            return
        where = ", ".join(state.mirror or "what is there" for state in videos)
        for video in self.place.absent():
            if not self.place.missing.permanent(video):
                self.place.missing.note(video, "missing_permanent", f"not in {where}", videos[-1].key)
        for state in videos:
            state.reason = look(self.place, next(s for s in self.place.sources if s.key == state.key)).reason


def _status(problems: list[PetvrError]) -> Status:
    """The kindest view: what may pass or can be opened with a key comes before what is lost."""
    if any(isinstance(problem, Changed) for problem in problems):
        return "changed"
    if any(isinstance(problem, Temporary | Full) for problem in problems):
        return "deferred"
    return "gated" if any(isinstance(problem, Gated) for problem in problems) else "failed"


def _next(place: Place, source: Source, status: Status) -> str:
    if status == "changed":
        return "find out which is right; then keep the lock, or remove the entry from it"
    steps = [f"petvr download {place.folder} tries again"] if status == "deferred" else []
    if source.by_hand:
        steps.append(source.by_hand)
    if source.pages and not source.by_hand:
        steps.append(f"see {', '.join(source.pages)}")
    if not source.by_hand and status != "deferred":
        what = ", ".join(source.names) or "the videos"
        where = place.root if source.gives == "annotations" else place.videos
        steps.append(f"put {what} into {where} by hand")
    return "; ".join(steps)


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Two calls on one folder would write into each other's files. Where locks do not exist, nobody watches over it."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        stream = open(state / ".download.busy", "w")  # noqa: SIM115 - closed below
    except OSError as error:
        raise PetvrError(f"{state}: cannot be written: {error.strerror or error}") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PetvrError(f"{state}: another `petvr download` is at work there") from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        yield
