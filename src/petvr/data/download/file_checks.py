"""What the first bytes say about a file: error pages and pointers that arrive under the name of the real thing."""

from __future__ import annotations

from pathlib import Path

from petvr.data.download.compression import FORMATS
from petvr.data.download.untar import sum_fits

PAGES = (b"<!doctype html", b"<html", b"<head", b"<script", b"<?xml", b"<!--")
POINTER = b"version https://git-lfs.github.com/spec/"


def is_page(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGES)


def what_is_wrong(path: Path, kind: str) -> str:
    """Why `path` cannot be a whole archive of `kind` (zip, tar) or a plain file; "" where nothing speaks against it."""
    with open(path, "rb") as stream:
        head = stream.read(512)
    if head.startswith(POINTER):
        return "a Git LFS pointer instead of the file"
    if kind == "zip" and not head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "no zip archive"
    if kind == "tar" and not head.startswith(tuple(FORMATS)) and not sum_fits(head):
        return "no tar archive"
    return "" if head else "empty"
