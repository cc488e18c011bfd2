"""One file from one address: resumed where the earlier attempt stopped if the other end still has the same bytes."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from petvr import atomic
from petvr.data.datasets.source import Mirror
from petvr.data.download import file_checks, logins
from petvr.data.download.failures import DiskFull, MirrorFailed, RetryLater
from petvr.data.download.lock import DownloadLock
from petvr.data.download.web import NoConnection, Web, readable_address, shown
from petvr.errors import PetvrError
from petvr.text_files import read_json

BLOCK = 1 << 20
SPARE = 64 << 20  # bytes of disk left free
COUNT = re.compile(r"[0-9]{1,18}")
CONTENT_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-[0-9]{1,18}|\*)/([0-9]{1,18}|\*)")
OnProgress = Callable[[int, int | None], None]  # (bytes that are there, bytes in all or None)


@dataclass
class PartialFile:
    """`target`.part and what the server said of it, in `target`.part.json."""

    target: Path

    def __post_init__(self) -> None:
        self.path = self.target.with_name(self.target.name + ".part")
        self.note = self.target.with_name(self.target.name + ".part.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def origin(self, url: str) -> dict[str, Any]:
        """etag, last_modified and length the part began with; {} where it began elsewhere or nothing is known."""
        try:
            noted = read_json(self.note, dict)
        except PetvrError:
            return {}
        return noted if noted.get("url") == shown(url) else {}

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def fetch(
    web: Web, mirror: Mirror, target: Path, lock: DownloadLock, on_progress: OnProgress = lambda have, total: None
) -> Path:
    """Bring `mirror.url` to `target`, checked. `on_progress`(bytes that are there, bytes in all or None).

    Raises MirrorFailed, RetryLater, LoginRequired, Changed (the bytes differ from an earlier download), DiskFull.
    """
    readable_address(mirror.url, target.name)
    credentials = logins.find_credentials(mirror.login) if mirror.login else None
    part = PartialFile(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    farthest = part.size  # an attempt that begins anew gains nothing before it is past the earlier one

    def heard(have: int, total: int | None) -> None:
        nonlocal farthest
        farthest = max(farthest, have)
        on_progress(have, total)

    def attempt() -> dict[str, Any]:
        return _attempt(web, mirror, part, credentials, heard)

    try:
        facts = web.retry.call(attempt, lambda: farthest, web.tries(mirror.url))
    except NoConnection:
        web.give_up(mirror.url)
        raise
    except OSError as error:
        raise DiskFull(f"{target}: cannot be written: {error.strerror or error}") from error
    try:
        lock.confirm(shown(mirror.url), facts, published=bool(mirror.sha256 or mirror.md5))
    except PetvrError:
        part.drop()
        raise
    os.replace(part.path, target)
    part.note.unlink(missing_ok=True)
    return target


def _attempt(
    web: Web,
    mirror: Mirror,
    part: PartialFile,
    credentials: logins.Credentials | None,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """One connection. Returns what the lock notes about the complete, checked part."""
    origin, have = part.origin(mirror.url), part.size
    validator = _validator(origin)
    if have and not (origin and (validator or mirror.sha256 or mirror.md5)):
        have = 0  # nothing would tell that the other end changed meanwhile
    resumed = have > 0
    if not (resumed and origin.get("length") == have):  # else it is complete, and was killed before the renaming
        headers = {"Range": f"bytes={have}-"} if resumed else {}
        if resumed and validator:
            headers["If-Range"] = validator
        with web.get(mirror.url, headers, credentials) as response:
            origin, have = _accept(response, mirror, part, origin, have)
            resumed = have > 0
            if response.status_code != 416:
                _save(web, response, mirror, part, have, origin, on_progress)
        if origin["length"] is not None and part.size != origin["length"]:
            raise RetryLater(f"{shown(mirror.url)}: ended after {part.size:,} of {origin['length']:,} bytes")
    return _checked(mirror, part, origin, resumed)


def _accept(
    response: httpx2.Response, mirror: Mirror, part: PartialFile, origin: dict[str, Any], have: int
) -> tuple[dict[str, Any], int]:
    """Where the body of this answer belongs: (what the server says of the file, bytes to keep)."""
    said = shown(mirror.url)
    validators = {"etag": response.headers.get("etag"), "last_modified": response.headers.get("last-modified")}
    start, total = _range(response)
    if response.status_code == 416 and total == have and have:
        return {**origin, "length": total}, have
    same = all(value == origin.get(key) for key, value in validators.items() if value) and total == origin.get("length")
    if response.status_code == 416 or (response.status_code == 206 and (start != have or not same)):
        part.drop()
        raise RetryLater(f"{said}: changed at the other end or answers with other bytes than asked for; from the start")
    if response.status_code == 200:
        have = 0
    if "html" in response.headers.get("content-type", "") and not mirror.url.endswith((".html", ".htm")):
        raise RetryLater(f"{said}: sends a web page instead of the file (quota or login?)", tries=2)
    if mirror.size is not None and total is not None and total != mirror.size:
        raise MirrorFailed(f"{said}: is {total:,} bytes long, published are {mirror.size:,}")
    if total is not None:
        free = shutil.disk_usage(part.path.parent).free
        if total - have + SPARE > free:
            raise DiskFull(f"{part.path.parent}: {_size(total - have)} are to come, {_size(free)} are free")
    return {"url": said, **validators, "length": total}, have


def _save(
    web: Web,
    response: httpx2.Response,
    mirror: Mirror,
    part: PartialFile,
    have: int,
    origin: dict[str, Any],
    on_progress: OnProgress,
) -> None:
    """Append the body to the part, from byte `have` on; what was there of it stays where a page comes instead."""
    retry, total = web.retry, origin["length"]
    since, since_bytes = retry.clock(), 0
    chunks = response.iter_raw()
    first = next(chunks, b"")
    if not have and file_checks.is_page(first[:512]):
        raise RetryLater(f"{shown(mirror.url)}: sends a web page instead of the file (quota or login?)", tries=2)
    on_progress(have, total)
    if not have:
        part.drop()  # before the note: a note never stands beside bytes of another origin
    atomic.write_json(part.note, origin)
    with open(part.path, "r+b" if have else "wb") as stream:
        stream.seek(have)
        stream.truncate()
        for chunk in itertools.chain((first,), chunks):
            retry.raise_if_cancelled()
            try:
                stream.write(chunk)
            except OSError as error:
                raise DiskFull(f"{part.path}: {error.strerror or error}") from error
            have, since_bytes = have + len(chunk), since_bytes + len(chunk)
            on_progress(have, total)
            if mirror.size is not None and have > mirror.size:
                raise MirrorFailed(f"{shown(mirror.url)}: sends more than the {mirror.size:,} bytes that are published")
            if (elapsed := retry.clock() - since) >= retry.slow_after:
                if since_bytes < retry.slow_bytes:
                    raise RetryLater(f"{shown(mirror.url)}: {since_bytes:,} bytes in {elapsed:.0f} s are too slow")
                since, since_bytes = retry.clock(), 0
        stream.flush()
        os.fsync(stream.fileno())


def _checked(mirror: Mirror, part: PartialFile, origin: dict[str, Any], resumed: bool) -> dict[str, Any]:
    """Size, kind and checksum of the complete part. What is wrong is dropped; if it was resumed, tried once more."""
    problem = ""
    size = part.size
    if mirror.size is not None and size != mirror.size:
        problem = f"is {size:,} bytes long, published are {mirror.size:,}"
    problem = problem or file_checks.what_is_wrong(part.path, mirror.kind)
    sums = {"sha256": hashlib.sha256()}
    if mirror.md5:
        sums["md5"] = hashlib.md5(usedforsecurity=False)
    if not problem:
        with open(part.path, "rb") as stream:
            while block := stream.read(BLOCK):
                for one in sums.values():
                    one.update(block)
        for name, published in (("sha256", mirror.sha256), ("md5", mirror.md5)):
            if published and sums[name].hexdigest() != published.lower():
                problem = f"{name} is {sums[name].hexdigest()}, published is {published}"
                break
    if problem:
        part.drop()
        said = f"{shown(mirror.url)}: {problem}"
        raise RetryLater(said, tries=2) if resumed else MirrorFailed(said)
    noted = {key: origin.get(key) for key in ("etag", "last_modified")}
    return {"sha256": sums["sha256"].hexdigest(), "size": size, **noted}


def _validator(origin: dict[str, Any]) -> str | None:
    """For If-Range: a strong ETag, else the date; weak ETags promise no equal bytes."""
    etag = origin.get("etag")
    validator = etag if etag and not etag.startswith("W/") else origin.get("last_modified")
    return validator if validator and validator.isascii() and validator.isprintable() else None


def _range(response: httpx2.Response) -> tuple[int | None, int | None]:
    """(first byte, bytes in all) that an answer speaks of."""
    if response.status_code == 200:
        length = response.headers.get("content-length", "").strip()
        return 0, int(length) if COUNT.fullmatch(length) else None
    match = CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
    if not match:
        return None, None
    return (int(match[1]) if match[1] else None), (int(match[2]) if match[2] != "*" else None)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
