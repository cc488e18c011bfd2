"""The papers and the protocols of our own: one folder each, with the files of FILES; docs/papers.md has the formats."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from petvr import errors
from petvr.errors import PetvrError
from petvr.papers.paper import FILES, Paper
from petvr.papers.printed import Printed
from petvr.papers.table import Cell, Column, Row, Table

__all__ = [
    "FILES", "NAMES", "Cell", "Column", "Paper", "Printed", "Row", "Table", "faults", "load_paper", "published",
    "readable",
]  # fmt: skip

_HOME = Path(__file__).parent
NAMES: tuple[str, ...] = tuple(
    sorted(path.name for path in _HOME.iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))
)


@functools.cache
def load_paper(name: str) -> Paper:
    """The paper of that folder, read and validated once. Raises PetvrError for an unknown name or a broken file."""
    if name not in NAMES:
        raise errors.unknown("paper", name, NAMES)
    return Paper(_HOME / name, NAMES)


@functools.cache
def faults() -> dict[str, str]:
    """Paper -> what is wrong with its folder; the first one who asks has it told on stderr."""
    faults = {}
    for name in NAMES:
        try:
            load_paper(name)
        except PetvrError as error:
            faults[name] = str(error)
            print(f"petvr: warning: paper {name} is left out: {error}", file=sys.stderr)
    return faults


def readable() -> dict[str, Paper]:
    """The papers whose folders hold what they should."""
    return {name: load_paper(name) for name in NAMES if name not in faults()}


def published() -> dict[str, Paper]:
    """Of these the papers alone, without protocols of our own."""
    return {name: paper for name, paper in readable().items() if paper.kind == "paper"}
