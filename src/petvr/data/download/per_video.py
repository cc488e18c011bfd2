"""Videos that come one by one: from a list of addresses, or from YouTube. What one of them lacks stops no other."""

from __future__ import annotations

import threading
from collections.abc import Callable

from petvr.data.datasets.source import DownloadSource, Mirror
from petvr.data.datasets.video_state import VideoState
from petvr.data.download.dataset_folder import WORK, name_of
from petvr.data.download.failures import Cancelled, Changed, DiskFull, LoginRequired, MirrorFailed, RetryLater
from petvr.data.download.session import DownloadSession
from petvr.data.download.transfer import fetch
from petvr.data.download.youtube import Youtube
from petvr.errors import PetvrError

DEAD = 20  # refusals before the first success after which a mirror counts as gone (a guess)


def download_videos(session: DownloadSession, source: DownloadSource, mirror: Mirror) -> None:
    """All that is not there and not known to be removed. Raises MirrorFailed where the mirror gives nothing at all."""
    folder, options = session.folder, session.options
    work = folder.videos / WORK
    absent = [video for video in folder.absent() if not folder.missing.removed(video)]
    if mirror.kind == "youtube":
        act, todo, workers = _youtube(session, absent), absent, options.youtube_parallel
    else:
        act, todo = _links(session, source, mirror, absent)
        workers = options.parallel
    tally = MirrorTally(source.key, mirror, session)

    with session.progress.items(f"{source.key}", len(todo)) as step:

        def one(video: str) -> None:
            session.retry.raise_if_cancelled()
            tally.attempt(video, act)
            step()

        work.mkdir(parents=True, exist_ok=True)
        session.parallel(one, todo, workers)
    tally.raise_if_dead()
    if not tally.put_off:
        folder.lock.gives(source.key, name_of(mirror), complete=True)


class MirrorTally:
    """Notes each video's outcome, and tells a mirror that is dead from one that lacks some videos."""

    def __init__(self, key: str, mirror: Mirror, session: DownloadSession):
        self.key, self.mirror, self.session = key, name_of(mirror), session
        # YouTube's refusals are about the video, and a mirror that gave something before is alive
        self.trusted = mirror.kind == "youtube" or session.folder.lock.came_from(key) is not None
        self.good = self.refused = 0
        self.put_off: RetryLater | None = None
        self._guard = threading.Lock()
        self._held: dict[str, str] = {}

    def attempt(self, video: str, act: Callable[[str], None]) -> None:
        folder = self.session.folder
        try:
            act(video)
        except (LoginRequired, Cancelled, Changed, DiskFull):
            raise
        except RetryLater as error:
            self.put_off = error
            folder.missing.note(video, VideoState.RETRY_LATER, str(error), self.key)
        except MirrorFailed as error:
            self._lost(video, error)
        else:
            with self._guard:
                first, self.good = self.good == 0, self.good + 1
            self.session.changed = True
            if first and folder.lock.came_from(self.key) is None:
                folder.lock.gives(self.key, self.mirror, complete=False)
            folder.missing.arrived(video)
            self._release()

    def _lost(self, video: str, error: MirrorFailed) -> None:
        """Until something came, a refusal may be the mirror's fault and not the video's."""
        with self._guard:
            self.refused += 1
            self._held[video] = str(error)
            known = self.trusted or self.good > 0
            if not known and self.refused >= DEAD:
                raise MirrorFailed(f"{self.mirror}: gave none of the first {self.refused} videos ({error})")
        if known:
            self._release()

    def raise_if_dead(self) -> None:
        """After all: a mirror from which nothing at all came is left for the next one."""
        if self.good or (self.trusted and not self.put_off):
            return
        if self.put_off and self.session.folder.lock.came_from(self.key) is None:
            raise self.put_off
        if self._held:
            raise MirrorFailed(f"{self.mirror}: gave none of {self.refused} videos ({next(iter(self._held.values()))})")

    def _release(self) -> None:
        with self._guard:
            held, self._held = self._held, {}
        for video, reason in held.items():
            self.session.folder.missing.note(video, VideoState.REMOVED, reason, self.key)


def _youtube(session: DownloadSession, videos: list[str]) -> Callable[[str], None]:
    """What brings one video of the data set from YouTube."""
    folder, options = session.folder, session.options
    watches = {video: folder.wanted[video].youtube(video) for video in videos}
    cuts = any(watch is not None and watch.start is not None for watch in watches.values())
    youtube = Youtube(folder.videos / WORK, height=options.youtube_height, cookies=options.youtube_cookies, cuts=cuts)

    def act(video: str) -> None:
        watch = watches[video]
        if watch is None:
            raise MirrorFailed("the data set knows no YouTube video for it")
        target = folder.videos / next(iter(folder.wanted[video].file_names(video)))
        target.parent.mkdir(parents=True, exist_ok=True)
        youtube.download_clip(watch, target)

    return act


def _links(
    session: DownloadSession, source: DownloadSource, mirror: Mirror, absent: list[str]
) -> tuple[Callable[[str], None], list[str]]:
    """(what brings one video by its address, the videos that have one). Addresses of videos no split needs are left."""
    folder = session.folder
    expected = {name: video for video in absent for name in folder.wanted[video].file_names(video)}
    addresses: dict[str, tuple[str, str]] = {}
    for dataset in folder.datasets:
        for name, url in dataset.links(source.key):
            if name in expected:
                addresses.setdefault(expected[name], (name, url))

    def act(video: str) -> None:
        name, url = addresses[video]
        if name.startswith("/") or ".." in name.split("/"):
            raise PetvrError(f"{source.key}: {name!r} is no name of a file")
        target = folder.videos / name
        target.parent.mkdir(parents=True, exist_ok=True)
        ready = folder.videos / WORK / name.replace("/", "__")
        fetch(session.web, Mirror(url, login=mirror.login), ready, folder.lock)
        ready.replace(target)

    return act, list(addresses)
