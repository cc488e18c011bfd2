"""AdaptFormer's AdaptMLP [Chen et al. 2022], the baselines Adapt_par and Adapt_seq of MV-Adapter (section 5.1).

    parallel     A(x) = FFN(LN2 x) + s * ReLU(LN(x) W_down) W_up        x: the stream before LN2
    sequential   A(x) = y + s * ReLU(LN(y) W_down) W_up,  y = FFN(LN2 x)

in every block of both towers, before the residual sum; W_down [D, r]. `video` and `text` choose the form of each
tower; in MV-Adapter's tables the text tower is sequential in all rows.

`width` r = 128 with a LayerNorm of the adapter's own (`norm`) and all of CLIP's biases trained (`biases`) gives
4,152,320 numbers, 2.775 % of CLIP ViT-B/16 as printed (2.78); none of the three stands in the paper. The LayerNorm is
the default of AdaptFormer's class.
"""

from __future__ import annotations

from petvr.methods._bottleneck import Bottleneck, behind, beside
from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, Insert, per_block, setting

VERSION = 1
IDENTITY = "exact"
TUNE = ("lr_new", "lr_clip")
OPEN = (
    "Width, LayerNorm and trained biases of MV-Adapter's rows: together they meet the printed share, none stands in"
    " the paper.",
    "Scale, dropout (here none, as in the formulas; AdaptFormer trains with 0.1) and rate of these rows.",
)


class AdaptformerSettings(DeclaredSettings):
    video: str = setting(
        "parallel", "paper", "MV-Adapter section 5.1, Adapt_par", choices=("parallel", "sequential", "none")
    )
    text: str = setting("sequential", "paper", "MV-Adapter section 5.1", choices=("parallel", "sequential", "none"))
    width: int = setting(128, "count", "with norm and biases 2.775 %, printed 2.78", at_least=1)
    scale: float = setting(0.1, "guess", "AdaptFormer's and MV-Adapter's")
    norm: bool = setting(True, "count", "with width and biases 2.775 %, printed 2.78; AdaptFormer's class has it")
    biases: bool = setting(True, "count", "with width and norm 2.775 %, printed 2.78")


def declare(settings: AdaptformerSettings, build: BuildContext) -> Declaration:
    forms = {"vision": settings.video, "text": settings.text}
    adapted = [tower for tower, form in forms.items() if form != "none"]
    arguments = (settings.width, settings.scale, build.generator, settings.norm)
    adapters = per_block(build.config, lambda tower: Bottleneck(tower.width, *arguments), adapted)
    add = {"parallel": beside(adapters, "stream"), "sequential": behind(adapters)}
    return Declaration(
        train=lambda name: settings.biases and name.endswith(".bias"),
        module=adapters,
        insert=[Insert(tower, "mlp_out", add[forms[tower]]) for tower in adapted],
    )
