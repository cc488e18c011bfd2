"""The papers: one folder each with recipe.yaml, tables.yaml, printed.csv and open.md. No code per paper, no torch."""

from __future__ import annotations

import functools
from pathlib import Path

from petvr import errors
from petvr.papers.paper import Paper
from petvr.papers.printed import Printed
from petvr.papers.table import Column, Row, Table

__all__ = ["NAMES", "Column", "Paper", "Printed", "Row", "Table", "load"]

_HOME = Path(__file__).parent
NAMES: tuple[str, ...] = tuple(sorted(path.parent.name for path in _HOME.glob("*/recipe.yaml")))


@functools.cache
def load(name: str) -> Paper:
    """The paper of that folder, read and validated once. Raises PetvrError for an unknown name or a broken file."""
    if name not in NAMES:
        raise errors.unknown("paper", name, NAMES)
    return Paper(_HOME / name)
