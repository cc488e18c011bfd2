"""What is known of one video of a data set: decided here, stored by its value, shown by its `english`."""

from __future__ import annotations

from enum import StrEnum


class VideoState(StrEnum):
    """The values stand in manifests, locks, missing.json and results written earlier: they never change."""

    OK = "ok"
    OK_TRANSCODED = "ok_transcoded"
    MISSING = "missing"  # no file is there, and no download said why
    RETRY_LATER = "missing_deferred"
    REMOVED = "missing_permanent"
    NEEDS_LOGIN = "gated"
    UNDECODABLE = "undecodable"  # a file that is no video, or one that cannot be read

    @property
    def english(self) -> str:
        """How tables, `petvr data` and `petvr download` say it after a number: 38 removed."""
        return _ENGLISH.get(self, self.value)

    @property
    def usable(self) -> bool:
        """Training and evaluation may use it."""
        return self in (VideoState.OK, VideoState.OK_TRANSCODED)

    @property
    def absent(self) -> bool:
        """There is no file."""
        return not self.usable and self is not VideoState.UNDECODABLE

    @classmethod
    def parse(cls, value: str, default: VideoState) -> VideoState:
        """The state of a stored value; `default` for one that this version does not know."""
        return next((state for state in cls if state == value), default)


_ENGLISH = {
    VideoState.RETRY_LATER: "not downloaded yet",
    VideoState.REMOVED: "removed",
    VideoState.NEEDS_LOGIN: "behind a login",
}
