"""What became of one source of a data set: decided here, stored by its value, shown by its `english`."""

from __future__ import annotations

from enum import StrEnum

from petvr.data.datasets.video_state import VideoState


class SourceState(StrEnum):
    """The values stand in download.json files written earlier: they never change."""

    ABSENT = "absent"  # not there and not asked for by that call (annotations only, optional)
    USER_PROVIDED = "given"  # `paths` names it; nothing was downloaded, `petvr data` checks it
    PRESENT = "there"  # the files were there before any download
    DOWNLOADED = "brought"  # and checked, now or earlier; of videos all that can be had (rest: missing.json)
    PARTIAL = "partly"  # some videos are there; others failed for now, or the folder was filled by hand
    NEEDS_LOGIN = "gated"  # credentials, a request form or a licence; `next` says what a person has to do
    RETRY_LATER = "deferred"  # failed in a way that may pass (no network, 5xx, quota)
    FAILED = "failed"  # no mirror has it any more, or what came was wrong; trying again will not help
    CHANGED = "changed"  # the other end has other bytes than at the first download: a person has to decide

    @property
    def english(self) -> str:
        """How `petvr download` and tables say it."""
        return _ENGLISH.get(self, self.value)

    @property
    def settled(self) -> bool:
        """Nothing of it is left to be downloaded."""
        return self in (SourceState.USER_PROVIDED, SourceState.PRESENT, SourceState.DOWNLOADED)


_ENGLISH = {
    SourceState.USER_PROVIDED: "provided by you",
    SourceState.PRESENT: "present",
    SourceState.DOWNLOADED: "downloaded",
    SourceState.PARTIAL: "partial",
    SourceState.NEEDS_LOGIN: "needs a login or licence",
    SourceState.RETRY_LATER: VideoState.RETRY_LATER.english,
    SourceState.CHANGED: "changed at its source",
}
