"""X-Pool [Gorti et al. 2022]: what trains is the similarity of the same name; the towers stay as they are.

Alone it is VoP's "X-Pool" on a frozen CLIP (supplement, table 1); `x_pool+vop` adds prompts, `x_pool+full` is X-Pool
as published.
"""

VERSION = 1
IDENTITY = "exact"
SIMILARITY = "x_pool"
TUNE = ("lr_head",)
OPEN = ("VoP's rate for the head; X-Pool's code on MSR-VTT-9k has the one taken.",)
