"""RAP [Cao et al. 2024]: LoRM on both towers and ASA in the vision tower, petvr.methods.lorm and petvr.methods.asa.

The attention's q, k and v are modulated first; ASA then moves the modulated k and v. RAP_light (table 3) is last=4;
RAP* is the same model with dual-softmax scores. Settings and guesses stand in the two files.
"""

from torch import nn

from petvr.methods import asa, lorm
from petvr.methods._adapted import Declaration

VERSION = 1
PARTS = ("lorm", "asa")
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
