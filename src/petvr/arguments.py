"""Numbers on the command line: what is out of range is one line before anything starts."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

MOST = 10**9
THREADS = 1_024  # more end the process in native code


def whole(low: int = 1, high: int = MOST) -> Callable[[str], int]:
    """The `type` of an argument that is a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.lstrip("-").isdigit() or len(text) > 20 or not low <= int(text) <= high:
            bound = f"{low} or more" if high == MOST else f"{low} to {high}"
            raise argparse.ArgumentTypeError(f"{text:.40} given, allowed: {bound}")
        return int(text)

    return parse


def positive(text: str) -> float:
    """The `type` of an argument that is a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1e-9 <= value <= MOST:
        raise argparse.ArgumentTypeError(f"{text:.40} given, allowed: a number above 0, 1e-9 to 1e9")
    return value


def named_path(text: str) -> Path:
    """The `type` of a file or folder; an empty word, as of an unset variable, would be the working folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("empty, allowed: the name of a file or folder")
    return Path(text)


def host_name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("empty, which would be every address; 0.0.0.0 says so in words")
    return text


threads, port = whole(high=THREADS), whole(0, 65_535)
