"""Videos that come one by one: from a list of addresses, or from YouTube. What one of them lacks stops no other."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from petvr.data.datasets.source import Mirror, Source
from petvr.data.download.failures import Changed, Full, Gated, Halted, Refused, Temporary
from petvr.data.download.missing import DEFERRED, PERMANENT
from petvr.data.download.place import WORK, name_of
from petvr.data.download.transfer import fetch
from petvr.data.download.youtube import Youtube
from petvr.errors import PetvrError

if TYPE_CHECKING:
    from petvr.data.download.bring import Bringing

DEAD = 20  # refusals before the first success after which a mirror counts as gone (a guess)


def bring(call: Bringing, source: Source, mirror: Mirror) -> None:
    """Everything that is not there and not known to be gone. Raises Refused where the mirror gives nothing at all."""
    place, wishes = call.place, call.wishes
    work = place.videos / WORK
    absent = [video for video in place.absent() if not place.missing.permanent(video)]
    if mirror.kind == "youtube":
        act, todo, workers = _youtube(call, absent), absent, wishes.youtube_parallel
    else:
        act, todo = _links(call, source, mirror, absent)
        workers = wishes.parallel
    tally = _Tally(source.key, mirror, call)

    with call.watch.items(f"{source.key}", len(todo)) as step:

        def one(video: str) -> None:
            call.patience.check()
            tally.told(video, act)
            step()

        work.mkdir(parents=True, exist_ok=True)
        call.parallel(one, todo, workers)  # type: ignore[arg-type]
    tally.judge()
    if not tally.put_off:
        place.lock.gives(source.key, name_of(mirror), complete=True)


class _Tally:
    """Notes each video's outcome, and tells a mirror that is dead from one that lacks some videos."""

    def __init__(self, key: str, mirror: Mirror, call: Bringing):
        self.key, self.mirror, self.call = key, name_of(mirror), call
        # YouTube's refusals are about the video, and a mirror that gave something before is alive
        self.trusted = mirror.kind == "youtube" or call.place.lock.came_from(key) is not None
        self.good = self.refused = 0
        self.put_off: Temporary | None = None
        self._guard = threading.Lock()
        self._held: dict[str, str] = {}

    def told(self, video: str, act) -> None:
        place = self.call.place
        try:
            act(video)
        except (Gated, Halted, Changed, Full):
            raise
        except Temporary as error:
            self.put_off = error
            place.missing.note(video, DEFERRED, str(error), self.key)
        except Refused as error:
            self._lost(video, error)
        else:
            with self._guard:
                first, self.good = self.good == 0, self.good + 1
            self.call.changed = True
            if first and place.lock.came_from(self.key) is None:
                place.lock.gives(self.key, self.mirror, complete=False)
            place.missing.found(video)
            self._release()

    def _lost(self, video: str, error: Refused) -> None:
        """Until something came, a refusal may be the mirror's fault and not the video's."""
        with self._guard:
            self.refused += 1
            self._held[video] = str(error)
            known = self.trusted or self.good > 0
            if not known and self.refused >= DEAD:
                raise Refused(f"{self.mirror}: gave none of the first {self.refused} videos ({error})")
        if known:
            self._release()

    def judge(self) -> None:
        """After all: a mirror from which nothing at all came is left for the next one."""
        if self.good or (self.trusted and not self.put_off):
            return
        if self.put_off and self.call.place.lock.came_from(self.key) is None:
            raise self.put_off
        if self._held:
            raise Refused(f"{self.mirror}: gave none of {self.refused} videos ({next(iter(self._held.values()))})")

    def _release(self) -> None:
        with self._guard:
            held, self._held = self._held, {}
        for video, reason in held.items():
            self.call.place.missing.note(video, PERMANENT, reason, self.key)


def _youtube(call: Bringing, videos: list[str]):
    """What brings one video of the data set from YouTube."""
    place, wishes = call.place, call.wishes
    watches = {video: place.wanted[video].youtube(video) for video in videos}
    cuts = any(watch is not None and watch.start is not None for watch in watches.values())
    youtube = Youtube(place.videos / WORK, height=wishes.youtube_height, cookies=wishes.youtube_cookies, cuts=cuts)

    def act(video: str) -> None:
        watch = watches[video]
        if watch is None:
            raise Refused("the data set knows no YouTube video for it")
        target = place.videos / next(iter(place.wanted[video].file_names(video)))
        target.parent.mkdir(parents=True, exist_ok=True)
        youtube.bring(watch, target)

    return act


def _links(call: Bringing, source: Source, mirror: Mirror, absent: list[str]):
    """(what brings one video by its address, the videos that have one). Addresses of videos no split needs are left."""
    place = call.place
    expected = {name: video for video in absent for name in place.wanted[video].file_names(video)}
    found: dict[str, tuple[str, str]] = {}
    for dataset in place.datasets:
        for name, url in dataset.links(source.key):
            if name in expected:
                found.setdefault(expected[name], (name, url))

    def act(video: str) -> None:
        name, url = found[video]
        if name.startswith("/") or ".." in name.split("/"):
            raise PetvrError(f"{source.key}: {name!r} is no name of a file")
        target = place.videos / name
        target.parent.mkdir(parents=True, exist_ok=True)
        ready = place.videos / WORK / name.replace("/", "__")
        fetch(call.web, Mirror(url, login=mirror.login), ready, place.lock)
        ready.replace(target)

    return act, list(found)
