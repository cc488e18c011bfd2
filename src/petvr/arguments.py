"""Numbers on the command line: what is out of range is one line before anything starts."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable
from pathlib import Path

from petvr.errors import PetvrError
from petvr.library.given import LICENCE, MOST
from petvr.spec import MOST_THREADS, NUMBER, checked_value

WHOLE = re.compile("-?[0-9]{1,19}")


def whole(low: int = 1, high: int = MOST) -> Callable[[str], int]:
    """The `type` of an argument that is a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        if not WHOLE.fullmatch(text) or not low <= int(text) <= high:
            bound = f"{low} or more" if high == MOST else f"{low} to {high}"
            raise argparse.ArgumentTypeError(f"{text:.40} given, allowed: {bound}")
        return int(text)

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    """The `type` of an argument that is a number from `low` to `high`, written as the configuration writes numbers."""

    def parse(text: str) -> float:
        value = float(text) if NUMBER.fullmatch(text) else math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text:.40} given, allowed: a number, {low:g} to {high:g}")
        return value

    return parse


def recipe_number(key: str) -> Callable[[str], int]:
    """The `type` of an argument that stands for the whole number `key` of a recipe, within its bounds."""

    def parse(text: str) -> int:
        try:
            return int(checked_value(key, int(text) if WHOLE.fullmatch(text) else text, "a recipe"))
        except PetvrError as error:
            raise argparse.ArgumentTypeError(str(error).partition(f"{key}: ")[2]) from error

    return parse


def named_path(text: str) -> Path:
    """The `type` of a file or folder; an empty word, as of an unset variable, would be the working folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("empty, allowed: the name of a file or folder")
    path = Path(os.path.expanduser(text))  # a shell does it not in --to=~/x
    try:
        path.resolve()
    except (RuntimeError, ValueError, OSError) as error:  # a link to itself, or no name at all
        raise argparse.ArgumentTypeError(f"{text:.80}: {error}") from error
    return path


def name_list(text: str) -> list[str]:
    """The `type` of names joined by commas, each once."""
    names = text.split(",")
    if not all(name.strip() for name in names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text:.80} given, allowed: names joined by commas, each once")
    return names


def host_name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("empty, which would be every address; 0.0.0.0 says so in words")
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", text):
        raise argparse.ArgumentTypeError(f"{text:.40} given, allowed: a host name or address")
    return text


def licence(text: str) -> str:
    if not LICENCE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text:.40} given, allowed: a name of the hub's, as mit or apache-2.0")
    return text


def beside(args: argparse.Namespace, other: str, **usual: object) -> None:
    """Options that mean something only beside the option `other`: their usual values where they are not given.

    Raises PetvrError where they are given without that.
    """
    for name, value in usual.items():
        if getattr(args, name) in (None, False):
            setattr(args, name, value)
        elif getattr(args, other) in (None, False):
            raise PetvrError(f"--{name.replace('_', '-')} needs --{other}, without which it says nothing")


def alone(args: argparse.Namespace, name: str, *others: str) -> None:
    """Raises PetvrError where beside the option `name` one of `others` is given, which would change nothing then."""
    for other in others if getattr(args, name) else ():
        if getattr(args, other) not in (None, False, []):
            raise PetvrError(f"--{name} stands alone; given as well: {other.replace('_', '-')}")


threads, port, positive = whole(high=MOST_THREADS), whole(0, 65_535), number(1e-9, MOST)
