"""CLIP2Video [Fang et al. 2021]: nothing is inserted; CLIP is tuned by CLIP4Clip's rule (a guess,
the training is not public).

What trains of CLIP: `full` with rule=clip4clip. The rest is the similarity of the same name.
"""

from __future__ import annotations

from petvr.methods import full
from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings

VERSION = 1
IDENTITY = "exact"
SIMILARITY = "clip2video"
TUNE = ("lr_head", "lr_clip")
OPEN = ("How it was trained: the training is not public, CLIP4Clip's rule and recipe are taken.",)


def declare(settings: DeclaredSettings, build: BuildContext) -> Declaration:
    return Declaration(train=full.clip4clip_rule())
