"""When a count that an earlier process made still holds: beside what was asked it depends on the code that builds a
model, and on torch. All of that code is in the digest, so that no changed file can go with an old count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from petvr import methods, registry, similarity
from petvr.atomic import kept_count, user_cache


def count_of_this_code(
    key: Any, kinds: Mapping[str, Callable[[Any], Any]], count: Callable[[], dict[str, Any]]
) -> list[Any]:
    """`kept_count` in the user's cache, which may be deleted at any time."""
    folder = user_cache()
    return kept_count(folder / "counts" if folder else None, key, kinds, count, code_digest())


def code_files() -> list[Path]:
    """Those that decide what a model consists of and what it costs."""
    home = Path(registry.__file__).parent
    folders = [home / "clip", home / "costs", methods.REGISTRY.folder, similarity.REGISTRY.folder]
    return [Path(registry.__file__), *(path for folder in folders for path in sorted(folder.glob("*.py")))]


@cache
def code_digest() -> str:
    """Of the files' names and content, whatever their dates; once a process, which runs what it has read."""
    total = hashlib.sha256(metadata.version("torch").encode())
    for path in code_files():
        total.update(f"\n{path.parent.name}/{path.name} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]
