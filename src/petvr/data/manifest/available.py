"""Can a data set be had? Asked while the workflow is parsed, so nothing is read but names, marks and variables.

A data set is only given up where waiting for it is pointless: its files need a login or a licence that is not there, or
every mirror refused for good. What is merely not downloaded yet, or failed in a way that may pass, is waited for; so is
a place that the user named, since a wrong path is a mistake to be told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petvr.data.datasets.base import Dataset
from petvr.data.datasets.source import DownloadSource
from petvr.data.datasets.video_state import VideoState
from petvr.data.download import logins
from petvr.data.download.failures import LoginRequired
from petvr.data.download.source_state import SourceState
from petvr.errors import PetvrError
from petvr.text_files import read_json


@dataclass(frozen=True)
class Verdict:
    """`reason` is short, for the cells of a table: `needs a login`; `more` is one line on what to do.

    later: why it is not there although it is waited for; a download failed in a way that may pass.
    """

    there: bool  # annotation files and some video
    reason: str = ""  # "" : it is there, or it can be brought
    more: str = ""
    later: str = ""


def verdict(dataset: Dataset, given: tuple[bool, bool], state: Path) -> Verdict:
    """given: whether the user names the place of (annotation files, videos). state: the folder of download.json."""
    there = present(dataset)
    annotations, videos = halves(dataset)
    lacking = [gives for gives, has in (("annotations", annotations), ("videos", videos)) if not has]
    lacking = [gives for gives, named in zip(lacking, _given(lacking, given), strict=True) if not named]
    if there or not lacking:
        return Verdict(there)
    marks, later, why = read_mark(state), "", ""
    for source in dataset.sources:
        if source.optional or source.gives not in lacking:
            continue
        reason, more = _hopeless(source, marks.get(source.key))
        if reason:
            return Verdict(False, reason, more)
        mark = marks.get(source.key, {})
        if mark.get("status") == SourceState.RETRY_LATER and not later:
            later, why = SourceState.RETRY_LATER.english, mark.get("reason") or ""
    return Verdict(False, "", why, later)


def _given(lacking: list[str], given: tuple[bool, bool]) -> Iterable[bool]:
    named = dict(zip(("annotations", "videos"), given, strict=True))
    return [named[gives] for gives in lacking]


def present(dataset: Dataset) -> bool:
    return all(halves(dataset))


def halves(dataset: Dataset) -> tuple[bool, bool]:
    """Whether all annotation files are there, and whether the folder of videos holds anything."""
    annotations = all(path.exists() for path in dataset.annotation_files())
    return annotations, dataset.videos.is_dir() and any(
        not path.name.startswith(".")
        for path in dataset.videos.iterdir()  # .download: work that is not finished
    )


def _hopeless(source: DownloadSource, mark: dict[str, Any] | None) -> tuple[str, str]:
    """Why this source cannot be had, and what to do; empty where there is a point in trying."""
    reason, more = _wall(source)
    if reason:
        return reason, more
    needs_login = mark is not None and mark.get("status") == SourceState.NEEDS_LOGIN and not _login(source)
    if mark and (needs_login or mark.get("status") == SourceState.FAILED):
        reason = SourceState.NEEDS_LOGIN.english if needs_login else f"no mirror has {source.key} any more"
        return reason, f"{mark.get('reason') or ''}; {mark.get('next') or source.by_hand}".strip("; ")
    return "", ""


def _wall(source: DownloadSource) -> tuple[str, str]:
    """Every mirror asks for a login that is not there, or there is none at all."""
    if not source.mirrors:
        return "only by hand", source.by_hand
    why = ""
    for mirror in source.mirrors:
        if mirror.login is None:
            return "", ""
        try:
            logins.find_credentials(mirror.login)
            return "", ""
        except LoginRequired as error:
            why = str(error)
    return "needs a login", "; ".join(part for part in (why, source.by_hand) if part)


def _login(source: DownloadSource) -> bool:
    """Some mirror asks for a login, and `_wall` found that it is there: the mark is from before."""
    return any(mirror.login for mirror in source.mirrors)


def read_mark(state: Path) -> dict[str, dict[str, Any]]:
    """Source key -> what the last `petvr download` left behind (petvr.data.download); {} where there was none."""
    data = _json(state / "download.json")
    return {source["key"]: source for source in data.get("sources", []) if isinstance(source, dict)}


def read_missing(state: Path) -> dict[str, tuple[VideoState, str]]:
    """Video -> (status, reason) of what a download could not bring."""
    videos = _json(state / "missing.json").get("videos", {})
    missing = VideoState.MISSING
    return {v: (VideoState.parse(one.get("status", ""), missing), one.get("reason", "")) for v, one in videos.items()}


def _json(path: Path) -> dict[str, Any]:
    try:
        return read_json(path, dict)
    except PetvrError:
        return {}
