"""CLIP as it is: nothing is inserted and nothing trains [Radford et al. 2021]."""

from petvr.methods._adapted import Declaration

VERSION = 1
DEFAULTS = {}
IDENTITY = "exact"


def build(clip, setting, made):
    return Declaration()
