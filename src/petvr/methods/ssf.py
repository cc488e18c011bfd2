"""SSF: scaling and shifting of features [Lian et al. 2022, equation 3], a baseline of RAP in both towers.

    y = gamma * x + beta,    gamma, beta [width of x]

behind every operation of a block: LN1 (D), the joint q, k, v projection (3D), the attention's output (D), LN2 (D), the
MLP's first layer before its activation (4D) and its second (D): 2 x 11 D numbers. Every token gets the same gamma and
beta. All of CLIP is frozen. RAP without LoRM and ASA is this (its table 4, #4).

`sites` all (default): also behind the patch embedding, the vision tower's first LayerNorm and both last LayerNorms, as
LoRM, which replaces these vectors, needs it for its printed 0.76 M: 343,552 numbers with ViT-B. blocks: the blocks
alone, 337,920. RAP prints 0.34 M, which both are, so all is a guess; SSF's own code has the patch embedding and the
last LayerNorm (its ViT has no first one).

Initialisation [SSF's code]: gamma N(1, 0.02), beta N(0, 0.02), so CLIP is slightly off before training.
"""

from __future__ import annotations

from torch import nn

from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, setting
from petvr.methods._modulation import Vectors, sites_of

VERSION = 3
IDENTITY = "none"
OPEN = (
    "Whether patch embedding and the LayerNorms outside the blocks are modulated; RAP's printed 0.34 M fits both, "
    "SSF's own code has the patch embedding and the last LayerNorm.",
    "Its rate: RAP names one for everything.",
)

ENDS = ("embedded", "block_in", "pooled")  # not of a block; the first LayerNorm's output is what block 0 reads


class SsfSettings(DeclaredSettings):
    sites: str = setting("all", "guess", "RAP's printed 0.34 M fits both", choices=("all", "blocks"))


def declare(settings: SsfSettings, build: BuildContext) -> Declaration:
    module, insert = nn.ModuleDict(), []
    for tower in build.config.towers:
        every = sites_of(build.config, tower)
        sites = [site for site in every if settings.sites == "all" or site.place not in ENDS]
        module[tower] = Vectors(sites, build.generator)
        insert += [site.insert(tower, module[tower].at(site)) for site in sites]
    return Declaration(module=module, insert=insert)
