"""CLIP as it is: nothing is inserted and nothing trains [Radford et al. 2021]."""

from __future__ import annotations

from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings

VERSION = 1
IDENTITY = "exact"
TUNE = ()
OPEN = (
    "Frames and resizing of RAP's only such row; it beats full tuning on MSVD, video to text, so that the two may "
    "follow different rules.",
)


def declare(settings: DeclaredSettings, build: BuildContext) -> Declaration:
    return Declaration()
