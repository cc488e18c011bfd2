"""CLIP as it is: nothing is inserted and nothing trains [Radford et al. 2021]."""

from __future__ import annotations

from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings

VERSION = 1
IDENTITY = "exact"


def declare(settings: DeclaredSettings, build: BuildContext) -> Declaration:
    return Declaration()
