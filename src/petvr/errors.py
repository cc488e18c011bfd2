"""The one exception a user meets: a single line that names the file, the key and the allowed values."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PetvrError(Exception):
    """Bad input or a missing file; the command line prints it as one line and exits with code 2."""


def unknown(what: str, given: str, allowed: Iterable[str], where: str = "") -> PetvrError:
    """An error for a name that does not exist, with the nearest known one and the list of all."""
    allowed = sorted(map(str, allowed))
    near = difflib.get_close_matches(str(given), allowed, n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    prefix = f"{where}: " if where else ""
    return PetvrError(f"{prefix}unknown {what} '{given}'{hint}; allowed: {', '.join(allowed) or 'none'}")
