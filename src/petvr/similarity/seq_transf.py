"""CLIP4Clip's seqTransf [Luo et al. 2021, section 3.3, "sequential type"]: frames see each other, then are pooled.

    v = meanP( f + Blocks(f + p) )

f [F, E] are a video's raw frame features, p [77, E] learned positions of frames of which the first F are used, Blocks
4 pre-LN transformer blocks of width E. Blocks and p begin as CLIP's first text blocks and text positions, so that
nothing is drawn at random [released code]. The score is the cosine with the text. 12,648,960 numbers with E = 512.
"""

from __future__ import annotations

from torch import Tensor, nn

from petvr.errors import PetvrError
from petvr.similarity._blocks import blocks, positions
from petvr.similarity._head import Features, Similarity, mean_of, unit

VERSION = 1
DEFAULTS = {"layers": 4}


class Sequence(nn.Module):
    """f -> f + Blocks(f + p) for [M, F, E] with mask [M, F]."""

    def __init__(self, made, layers, rows):
        super().__init__()
        self.positions = positions(made, rows)
        self.blocks = blocks(made, layers)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        return frames + self.blocks(frames + self.positions[: frames.shape[1]], mask)


class SeqTransf(Similarity):
    def __init__(self, made, layers):
        super().__init__()
        self.sequence = Sequence(made, layers, made.frames)

    def text_side(self, features: Features) -> Features:
        return {"text": unit(features["text"])}

    def video_side(self, features: Features) -> Features:
        mask = features["mask"]
        return {"video": mean_of(self.sequence(features["frames"], mask), mask)}

    def pairs(self, texts: Features, videos: Features) -> Tensor:
        return texts["text"] @ videos["video"].T


def build(setting, made):
    if setting.layers < 1:
        raise PetvrError(f"similarity 'seq_transf': setting 'layers': {setting.layers} given, allowed: 1 or more")
    return SeqTransf(made, setting.layers)
