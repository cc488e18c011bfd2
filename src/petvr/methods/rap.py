"""RAP [Cao et al. 2024]: LoRM on both towers and ASA in the vision tower, petvr.methods.lorm and petvr.methods.asa.

The attention's q, k and v are modulated first; ASA then moves the modulated k and v. RAP_light (table 3) is last=4;
RAP* is the same model with dual-softmax scores. What is a guess stands in the two files; VERSION goes up with theirs.
"""

from torch import nn

from petvr.methods import asa, lorm
from petvr.methods._adapted import Declaration

VERSION = 1
DEFAULTS = {
    "r": 3,
    "axes": "time",
    "factorised": True,
    "text_rank": 0,
    "last": 0,
    "k": 3,
    "select": "text_top",
    "warp": "both",
    "offsets": "predicted",
    "hidden": 32,
    "proj": "read_out",
    "pool": "gallery",
}
CHOICES = {
    "axes": ["time", "space_time", "space_time_layer"],
    "select": ["text_top", "text_bottom", "vision_top", "vision_bottom", "random", "none"],
    "warp": ["both", "time", "space"],
    "offsets": ["predicted", "equation"],
    "proj": ["read_out", "plain"],
    "pool": ["gallery", "fixed"],
}
IDENTITY = "none"


def build(clip, setting, made):
    halves = {"lorm": lorm.build(clip, setting, made), "asa": asa.build(clip, setting, made)}
    return Declaration(
        module=nn.ModuleDict({name: half.module for name, half in halves.items()}),
        insert=[insert for half in halves.values() for insert in half.insert],
        temporal=True,
        pool=halves["asa"].pool,
        random=halves["asa"].random,
    )
