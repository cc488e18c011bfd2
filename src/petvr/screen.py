"""Where lists are printed: as wide as the terminal; into a pipe or a file nothing is cut or wrapped."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

UNCUT = 4_000  # columns, more than any list has


def screen() -> Console:
    """rich's console for stdout; COLUMNS says another width, as everywhere."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else UNCUT)
