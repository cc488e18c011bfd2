"""CLIP4Clip's sequential type on a frozen CLIP [Luo et al. 2021, section 3.3; a baseline of MV-Adapter, section 5.1].

Nothing is inserted and nothing of CLIP trains: what trains is the similarity of the same name.
"""

VERSION = 1
IDENTITY = "exact"
SIMILARITY = "seq_transf"
TUNE = ("lr_head",)
OPEN = ("How MV-Adapter ran it: it says that CLIP is frozen and prints the size, nothing else.",)
