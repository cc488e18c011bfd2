"""AdaptFormer's AdaptMLP [Chen et al. 2022], the baselines Adapt_par and Adapt_seq of MV-Adapter (section 5.1).

    parallel     A(x) = FFN(LN2 x) + s * ReLU(LN(x) W_down) W_up        x: the stream before LN2
    sequential   A(x) = y + s * ReLU(LN(y) W_down) W_up,  y = FFN(LN2 x)

in every block of both towers, before the residual sum; W_down [D, r]. `video` and `text` choose the form of each
tower; in MV-Adapter's tables the text tower is sequential in all rows.

`width` r = 128 with a LayerNorm of the adapter's own (`norm`) and all of CLIP's biases trained (`biases`) gives
4,152,320 numbers, 2.775 % of CLIP ViT-B/16 as printed (2.78); none of the three stands in the paper. The LayerNorm is
the default of AdaptFormer's class. Guesses: `scale` s = 0.1, AdaptFormer's and MV-Adapter's; no dropout, as in both
papers' formulas and the class's default (AdaptFormer's training sets 0.1).
"""

from torch import nn

from petvr.methods._adapted import Declaration, Insert
from petvr.methods._bottleneck import behind, beside, stack

VERSION = 1
DEFAULTS = {"video": "parallel", "text": "sequential", "width": 128, "scale": 0.1, "norm": True, "biases": True}
CHOICES = {"video": ["parallel", "sequential", "none"], "text": ["parallel", "sequential", "none"]}
IDENTITY = "exact"


def build(clip, setting, made):
    forms = {"vision": setting.video, "text": setting.text}
    parts = {"vision": clip.config.vision, "text": clip.config.text}
    module, insert = nn.ModuleDict(), []
    for tower, form in forms.items():
        if form == "none":
            continue
        adapters = stack(parts[tower], setting.width, setting.scale, made.generator, setting.norm)
        module[tower] = adapters
        add = behind(adapters) if form == "sequential" else beside(adapters, "stream")
        insert.append(Insert(tower, "mlp_out", add))
    return Declaration(lambda name: setting.biases and name.endswith(".bias"), module, insert)
