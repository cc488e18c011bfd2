"""CLIP2Video [Fang et al. 2021]: nothing is inserted; CLIP is tuned by CLIP4Clip's rule (a guess,
the training is not public).

What trains of CLIP: `full` with rule=clip4clip. The rest is the similarity of the same name.
"""

from types import SimpleNamespace

from petvr.methods import full
from petvr.methods._adapted import Declaration

VERSION = 1
DEFAULTS = {}
IDENTITY = "exact"
SIMILARITY = "clip2video"


def build(clip, setting, made):
    return Declaration(train=full.build(clip, SimpleNamespace(rule="clip4clip", freeze=0), made).train)
