"""What the first bytes say about a file: error pages and pointers that arrive under the name of the real thing."""

from __future__ import annotations

from pathlib import Path

PAGES = (b"<!doctype html", b"<html", b"<head", b"<script", b"<?xml", b"<!--")
POINTER = b"version https://git-lfs.github.com/spec/"
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")


def is_page(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGES)


def wrong(path: Path, kind: str) -> str:
    """Why `path` cannot be a whole archive of `kind` (zip, tar) or a plain file; "" where nothing speaks against it."""
    with open(path, "rb") as stream:
        head = stream.read(512)
    if head.startswith(POINTER):
        return "a Git LFS pointer instead of the file"
    if kind == "zip" and not head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "no zip archive"
    if kind == "tar" and not head.startswith(COMPRESSED) and head[257:262] != b"ustar" and not _old_tar(head):
        return "no tar archive"
    return "" if head else "empty"


def _old_tar(head: bytes) -> bool:
    """Tars from before POSIX carry no magic; their header still holds its own sum."""
    field = head[148:156].strip(b"\0 ")
    if len(head) < 512 or not field or not field.isdigit():
        return False
    return int(field, 8) == sum(head) - sum(head[148:156]) + 8 * 32 if set(field) <= set(b"01234567") else False
