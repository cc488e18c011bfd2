"""Counts of sizes and operations, kept for all who ask again: one small file each, which may be deleted at any time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from petvr import atomic
from petvr.errors import PetvrError
from petvr.text_files import read_json

Kind = Callable[[Any], Any]
VERSION = 1  # raised when the same model would be counted otherwise


def at_least(least: float) -> Kind:
    """Of a finite number; a ValueError for another."""

    def checked(value: Any) -> float:
        number = float(value)
        if not least <= number < math.inf:
            raise ValueError(f"{number} is no count")
        return number

    return checked


def kept_count(folder: Path | None, key: Any, names: dict[str, Kind], count: Callable[[], dict[str, Any]]) -> list[Any]:
    """The values of `names` in what `count` gives, once for a key, which says all that they depend on; folder None:
    each time."""
    text = json.dumps([VERSION, *key], sort_keys=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json" if folder else None
    if path is not None:
        with contextlib.suppress(PetvrError, ValueError, KeyError, TypeError):
            record = read_json(path, dict)
            return [kind(record[name]) for name, kind in names.items()]
    counted = count()
    if path is not None:
        with contextlib.suppress(PetvrError):  # who asks next counts again
            atomic.write_json(path, counted)
    return [counted[name] for name in names]
