"""Hunyuan_tvr's head on a frozen CLIP [MV-Adapter, section 5.1, "Hunyuan*"]. An approximation: no code is public.

Nothing is inserted and nothing of CLIP trains; what is known and what is chosen stands in the similarity of the same
name.
"""

VERSION = 1
IDENTITY = "exact"
SIMILARITY = "hunyuan"
TUNE = ("lr_head",)
OPEN = ("What of CLIP trains: nothing here, as MV-Adapter's section 5.1 says of its rebuilt row.",)
