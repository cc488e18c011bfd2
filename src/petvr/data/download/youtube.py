"""Clips from YouTube through yt-dlp (extra `youtube`), gently: what is gone is told from what may come back."""

from __future__ import annotations

import importlib
import os
import shutil
import threading
from pathlib import Path
from typing import Any

from petvr.data.datasets.source import Watch
from petvr.data.download.failures import LoginRequired, MirrorFailed, RetryLater

ADDRESS = "https://www.youtube.com/watch?v={}"
ENOUGH_BLOCKS = 5  # bot checks in a row after which the rest is left to a later call (a guess)

# words of YouTube's answers, the first that fits counts; they change over the years, so what fits none is tried again
BLOCKED = ("not a bot", "try again later", "rate-limit", "too many requests", "http error 429")
AGE = ("confirm your age", "age-restricted", "inappropriate for some users")
GONE = {
    "private video": "private video",
    "video is private": "private video",
    "account associated with this video has been terminated": "account terminated",
    "account has been terminated": "account terminated",
    "removed by the uploader": "removed by the uploader",
    "removed by the user": "removed by the uploader",
    "copyright": "removed after a copyright claim",
    "violat": "removed by YouTube",
    "terms of service": "removed by YouTube",
    "in your country": "blocked in this country",
    "geo restriction": "blocked in this country",
    "from your location": "blocked in this country",
    "members-only": "for members of the channel only",
    "join this channel": "for members of the channel only",
    "video has been removed": "removed",
    "no longer available": "unavailable",
    "does not exist": "unavailable",
    "video unavailable": "unavailable",
    "video is unavailable": "unavailable",
    "video is not available": "unavailable",
    "http error 404": "unavailable",
    "http error 410": "unavailable",
}


class Blocked(RetryLater):
    """YouTube refuses this address, not this video."""


def explain_error(message: str) -> MirrorFailed | RetryLater:
    """What an error text of yt-dlp means for the clip."""
    text = " ".join(message.split())
    low = text.lower().replace("’", "'")
    if any(phrase in low for phrase in BLOCKED):
        return Blocked("YouTube asks whether this is a bot, or limits the rate")
    if any(phrase in low for phrase in AGE):
        return RetryLater("age-restricted: needs download.youtube_cookies")
    for phrase, reason in GONE.items():
        if phrase in low:
            return MirrorFailed(reason)
    return RetryLater(text.removeprefix("ERROR: ")[:200])


class Youtube:
    """One yt-dlp setting for many clips. Raises LoginRequired at once where yt-dlp or ffmpeg is missing."""

    def __init__(self, work: Path, *, height: int, cookies: Path | None, cuts: bool):
        try:
            self.module = importlib.import_module("yt_dlp")
        except ModuleNotFoundError:
            raise LoginRequired("needs yt-dlp: pip install 'petvr[youtube]' -c envs/constraints.txt") from None
        if cuts and shutil.which("ffmpeg") is None:
            raise LoginRequired("needs the program ffmpeg, with which yt-dlp cuts clips out of videos")
        if cookies is not None and not cookies.is_file():
            raise LoginRequired(f"{cookies}: the cookie file of download.youtube_cookies is not there")
        self.work, self.height, self.cookies = work, height, cookies
        self._blocks, self._guard = 0, threading.Lock()

    def download_clip(self, watch: Watch, target: Path) -> Path:
        """Bring one clip to `target`, with another ending where YouTube has no mp4 of it; returns its path.

        Raises MirrorFailed where it is gone for good, RetryLater where not.
        """
        if self._blocks >= ENOUGH_BLOCKS:
            raise Blocked("not tried: YouTube refuses this address just now")
        self.work.mkdir(parents=True, exist_ok=True)
        with self.module.YoutubeDL(self._options(watch, target.stem)) as loader:
            try:
                info = loader.extract_info(ADDRESS.format(watch.id), download=True)
            except self.module.utils.YoutubeDLError as error:
                error_kind = explain_error(str(error))
                with self._guard:
                    self._blocks = self._blocks + 1 if isinstance(error_kind, Blocked) else 0
                raise error_kind from None
        self._blocks = 0
        files = [entry.get("filepath") for entry in (info or {}).get("requested_downloads") or []]
        if not files or not files[0] or not Path(files[0]).is_file() or not Path(files[0]).stat().st_size:
            raise RetryLater("yt-dlp reports success and leaves no file")
        final = target.with_suffix(Path(files[0]).suffix)
        os.replace(files[0], final)
        return final

    def _options(self, watch: Watch, name: str) -> dict[str, Any]:
        """H.264 first and AV1 never, which decord cannot read; pictures without sound where they are to be had."""
        tall = f"[height<={self.height}]"
        formats = [
            f"bv{tall}[vcodec^=avc1]",
            f"b{tall}[vcodec^=avc1]",
            f"bv*{tall}[vcodec!^=av01]",
            "wv*[vcodec!^=av01]",
        ]
        options: dict[str, Any] = {
            "format": "/".join(formats),
            "outtmpl": {"default": str(self.work / name).replace("%", "%%") + ".%(ext)s"},
            "noplaylist": True,
            "quiet": True,
            "no_warnings": True,
            "noprogress": True,
            "logger": _Silent(),
            "cachedir": False,
            "overwrites": True,
            "retries": 3,
            "fragment_retries": 3,
            "socket_timeout": 30,
        }
        if watch.start is not None and watch.end is not None:
            options["download_ranges"] = self.module.utils.download_range_func(None, [(watch.start, watch.end)])
            options["force_keyframes_at_cuts"] = True  # re-encodes: a copied stream would start at an earlier keyframe
        if self.cookies is not None:
            options["cookiefile"] = str(self.cookies)
        return options


class _Silent:
    """yt-dlp prints its errors besides raising them."""

    def debug(self, message: str) -> None: ...

    def warning(self, message: str) -> None: ...

    def error(self, message: str) -> None: ...
