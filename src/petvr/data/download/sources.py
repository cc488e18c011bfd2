"""A whole data set: each source from the first mirror that gives it, annotation files before videos."""

from __future__ import annotations

import contextlib
import functools
import shutil

from petvr.atomic import file_lock
from petvr.data.datasets.source import DownloadSource
from petvr.data.datasets.video_state import VideoState
from petvr.data.download.dataset_folder import WORK, DatasetFolder, SourceReport, inspect_source, name_of
from petvr.data.download.failures import Cancelled, Changed, DiskFull, LoginRequired, RetryLater
from petvr.data.download.install import install_source
from petvr.data.download.session import DownloadSession
from petvr.data.download.source_state import SourceState
from petvr.errors import PetvrError

BUSY = ".download.busy"  # held by the one call that may write into a folder


def download_sources(session: DownloadSession) -> list[SourceReport]:
    """Bring what is not there and write the mark. Returns the state of every source.

    Raises PetvrError only where nothing could be done at all: another call is at work, a state file is damaged.
    """
    folder, fill = session.folder, session.options.fill
    reports: dict[str, SourceReport] = {}
    with file_lock(folder.state / BUSY, "another `petvr download` is at work there"), contextlib.closing(session.web):
        try:
            _note_arrivals(folder)
            early = [source for source in folder.sources if source.gives == "annotations"]
            early_reports = session.parallel(functools.partial(_one_source, session), early, session.options.parallel)
            reports |= {report.key: report for report in early_reports}
            for source in folder.sources:
                if source.gives == "videos":
                    reports[source.key] = _one_source(session, source)
            _note_videos_in_no_source(session, reports)
        finally:
            folder.lock.flush()
            folder.missing.flush()
            for home in (folder.root, folder.videos):
                with contextlib.suppress(OSError):  # it still holds something, or is the user's
                    (home / WORK).rmdir()
        ordered = [reports[source.key] for source in folder.sources]
        for source, report in zip(folder.sources, ordered, strict=True):
            if report.gives == "annotations" and not report.status.settled:  # did the videos come without it?
                report.optional = inspect_source(folder, source, fill).optional
        if all(report.status.settled or report.optional for report in ordered):
            _remove_unfinished(folder)
        folder.write(ordered)
        if session.changed and folder.done.exists():
            folder.done.touch()  # the workflow then looks at the data again
    return ordered


def _one_source(session: DownloadSession, source: DownloadSource) -> SourceReport:
    """One source, whatever becomes of it."""
    report = inspect_source(session.folder, source, session.options.fill)
    if report.status is not SourceState.ABSENT or (report.optional and not session.options.optional):
        return report
    if source.gives == "videos" and session.options.annotations_only:
        return report
    if not source.mirrors:
        report.status = SourceState.NEEDS_LOGIN
        report.reason = report.reason or "cannot be downloaded"
        return report
    if source.gives == "videos":
        try:
            _ = session.folder.wanted
        except PetvrError as error:
            report.status, report.reason = SourceState.RETRY_LATER, session.folder.waits(error)
            return report
    return _try_mirrors(session, source, report)


def _try_mirrors(session: DownloadSession, source: DownloadSource, report: SourceReport) -> SourceReport:
    """The first mirror that gives it; a source whose videos began to come from one mirror stays with it."""
    folder = session.folder
    begun = folder.lock.came_from(source.key)
    mirrors = [mirror for mirror in source.mirrors if begun in (None, name_of(mirror))]
    problems: list[PetvrError] = []
    for mirror in mirrors:
        session.progress.say(f"{folder.name}: {source.key} from {name_of(mirror)}")
        try:
            install_source(session, source, mirror)
            session.changed |= mirror.kind not in ("links", "youtube")
        except Cancelled:
            raise
        except (Changed, DiskFull) as error:
            problems = [error]
            break
        except OSError as error:
            problems = [DiskFull(f"{error.filename or folder.state}: {error.strerror or error}")]
            break
        except PetvrError as error:
            session.progress.say(f"{folder.name}: {source.key}: {error}")
            problems.append(error)
        else:
            return _downloaded(session, source, report, name_of(mirror))
    report.status = _state_after(problems)
    report.reason = "; ".join(map(str, problems)) or f"mirror {begun} is no longer among the sources"
    report.next = _next_step(folder, source, report.status)
    return report


def _downloaded(session: DownloadSession, source: DownloadSource, report: SourceReport, mirror: str) -> SourceReport:
    if source.gives == "annotations":
        report.status, report.reason, report.next, report.mirror = SourceState.DOWNLOADED, "", "", mirror
        return report
    folder = session.folder
    fresh = inspect_source(folder, source, session.options.fill)
    if fresh.status is SourceState.ABSENT:  # some videos failed for now
        count = folder.missing.count(VideoState.RETRY_LATER, source.key)
        fresh.status = SourceState.PARTIAL
        fresh.reason = f"{fresh.reason}, {count:,} {VideoState.RETRY_LATER.english}"
        fresh.next = f"petvr download {folder.name} tries them again"
    fresh.mirror = mirror
    return fresh


def _remove_unfinished(folder: DatasetFolder) -> None:
    """What killed calls left half, now that nothing is waited for."""
    for home, user_provided in zip((folder.root, folder.videos), folder.user_provided, strict=True):
        if not user_provided:
            shutil.rmtree(home / WORK, ignore_errors=True)


def _note_arrivals(folder: DatasetFolder) -> None:
    """Videos that someone put there since."""
    if folder.missing.videos:
        with contextlib.suppress(PetvrError):  # no annotation files yet
            absent = set(folder.absent())
            for video in list(folder.missing.videos):
                if video not in absent:
                    folder.missing.arrived(video)


def _note_videos_in_no_source(session: DownloadSession, reports: dict[str, SourceReport]) -> None:
    """Once every source of videos gave what it has, a video without a file is in none of them."""
    folder = session.folder
    videos = [report for report in reports.values() if report.gives == "videos" and not report.optional]
    if not videos or any(report.status is not SourceState.DOWNLOADED for report in videos):
        return
    where = ", ".join(report.mirror or "what is there" for report in videos)
    for video in folder.absent():
        if not folder.missing.removed(video):
            folder.missing.note(video, VideoState.REMOVED, f"not in {where}", videos[-1].key)
    for report in videos:
        report.reason = inspect_source(folder, next(s for s in folder.sources if s.key == report.key)).reason


def _state_after(problems: list[PetvrError]) -> SourceState:
    """The kindest view: what may pass or can be opened with a key comes before what is lost."""
    if any(isinstance(problem, Changed) for problem in problems):
        return SourceState.CHANGED
    if any(isinstance(problem, RetryLater | DiskFull) for problem in problems):
        return SourceState.RETRY_LATER
    login = any(isinstance(problem, LoginRequired) for problem in problems)
    return SourceState.NEEDS_LOGIN if login else SourceState.FAILED


def _next_step(folder: DatasetFolder, source: DownloadSource, status: SourceState) -> str:
    if status is SourceState.CHANGED:
        return "find out which is right; then keep the lock, or remove the entry from it"
    again = status is SourceState.RETRY_LATER
    steps = [f"petvr download {folder.name} tries again"] if again else []
    if source.by_hand:
        steps.append(source.by_hand)
    if source.pages and not source.by_hand:
        steps.append(f"see {', '.join(source.pages)}")
    if not source.by_hand and not again:
        what = ", ".join(source.names) or "the videos"
        where = folder.root if source.gives == "annotations" else folder.videos
        steps.append(f"put {what} into {where} by hand")
    return "; ".join(steps)
