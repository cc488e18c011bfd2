"""X-CLIP [Ma et al. 2022]: what trains is the similarity of the same name; the towers stay as they are.

`x_clip+full` is X-CLIP as published, `x_clip+lorm` and `x_clip+lorm+asa` are RAP's table 8 on a frozen CLIP.
"""

VERSION = 1
IDENTITY = "exact"
SIMILARITY = "x_clip"
TUNE = ("lr_head",)
OPEN = ("How RAP's rows on a frozen CLIP train the head; X-CLIP's own rate is taken.",)
