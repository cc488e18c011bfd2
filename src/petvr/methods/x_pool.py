"""X-Pool [Gorti et al. 2022]: what trains is the similarity of the same name; the towers stay as they are.

Alone it is VoP's "X-Pool" on a frozen CLIP (supplement, table 1); `x_pool+vop` adds prompts, `x_pool+full` is X-Pool
as published.
"""

from petvr.methods._adapted import Declaration

VERSION = 1
DEFAULTS = {}
IDENTITY = "exact"
SIMILARITY = "x_pool"


def build(clip, setting, made):
    return Declaration()
