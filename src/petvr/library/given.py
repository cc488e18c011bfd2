"""What a caller from Python passes, looked at before anything is read: one line that names the argument."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from petvr.errors import PetvrError

MOST = 10**9
LICENCE = re.compile("[a-z0-9][a-z0-9.-]{0,63}")  # as the hub names them; it stands in the head of a card


def given_whole(name: str, value: Any, least: int = 1) -> int:
    """Also NumPy's; true is no number."""
    try:
        number = operator.index(value) if not isinstance(value, bool) else least - 1
    except TypeError:
        number = least - 1
    if not least <= number <= MOST:
        raise PetvrError(f"{name}: {value!r:.60} given, allowed: {least} or more, up to {MOST:,}")
    return number


def given_path(name: str, value: Any) -> Path:
    """An empty one would be the working folder."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else ""
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise PetvrError(f"{name}: {value!r:.60} given, allowed: the name of a file or folder")
    return Path(value)


def given_shard(value: Any) -> tuple[int, int]:
    """(3, 10): the third of ten."""
    shard, shards = value if isinstance(value, tuple | list) and len(value) == 2 else (0, 0)
    shard, shards = given_whole("shard", shard), given_whole("shard", shards)
    if shard > shards:
        raise PetvrError(f"shard: {value!r:.60} given, allowed: (1, N) to (N, N)")
    return shard, shards


def given_list(value: Any, what: str) -> list[Any]:
    """Of whatever gives one after the other; a text or a path, which do so too, was meant as one of them."""
    if isinstance(value, str | bytes | os.PathLike):
        raise PetvrError(f"a list of {what}s is expected, one {what} given: {value!r:.80}")
    if not isinstance(value, Iterable):
        raise PetvrError(f"a list of {what}s is expected, not {value!r:.60}")
    return list(value)
