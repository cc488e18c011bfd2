"""RAP [Cao et al. 2024]: LoRM on both towers and ASA in the vision tower, petvr.methods.lorm and petvr.methods.asa.

The attention's q, k and v are modulated first; ASA then moves the modulated k and v. RAP_light (table 3) is last=4;
RAP* is the same model with dual-softmax scores. Settings and guesses stand in the two files.
"""

from __future__ import annotations

from torch import nn

from petvr.methods import asa, lorm
from petvr.methods._declare import BuildContext, Declaration

VERSION = 1
PARTS = ("lorm", "asa")
IDENTITY = "none"
OPEN = (
    "Whether the text is modulated in all layers of RAP_light or in the last four (the latter here; both are 0.4M "
    "when printed).",
)


class RapSettings(asa.AsaSettings, lorm.LormSettings):
    """Those of both; `last` is one setting."""


def declare(settings: RapSettings, build: BuildContext) -> Declaration:
    first, second = lorm.declare(settings, build), asa.declare(settings, build)
    return Declaration(
        module=nn.ModuleDict({"lorm": first.module, "asa": second.module}),
        insert=[*first.insert, *second.insert],
        temporal=True,
        needs_texts=second.needs_texts,
        stochastic=second.stochastic,
    )
