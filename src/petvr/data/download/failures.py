"""The ways a transfer ends badly: what to do next follows from the class."""

from __future__ import annotations

from petvr.errors import PetvrError


class RetryLater(PetvrError):
    """May pass: tried again after a pause, then by the next call. `pause` is what the server asked for, in seconds.

    `tries`: at most so many attempts in a row for this reason, None for the usual number.
    """

    def __init__(self, message: str, pause: float | None = None, tries: int | None = None):
        super().__init__(message)
        self.pause, self.tries = pause, tries


class MirrorFailed(PetvrError):
    """This address will not give it (404, 403, something else under that name): the next mirror is asked."""


class LoginRequired(PetvrError):
    """Needs credentials or a licence that are not there."""


class Changed(PetvrError):
    """The bytes differ from those of the first download: a person has to decide."""


class DiskFull(PetvrError):
    """The disk has no room for it, or cannot be written."""


class Cancelled(PetvrError):
    """The user interrupted."""
