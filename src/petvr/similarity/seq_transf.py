"""CLIP4Clip's seqTransf [Luo et al. 2021, section 3.3, "sequential type"]: frames see each other, then are pooled.

    v = meanP( f + Blocks(f + p) )

f [F, E] are a video's raw frame features, p [77, E] learned positions of frames of which the first F are used, Blocks
4 pre-LN transformer blocks of width E. Blocks and p begin as CLIP's first text blocks and text positions, so that
nothing is drawn at random [released code]. The score is the cosine with the text. 12,648,960 numbers with E = 512.
"""

from __future__ import annotations

from torch import Tensor, nn

from petvr.registry import DeclaredSettings, setting
from petvr.similarity._blocks import clip_blocks, clip_positions
from petvr.similarity._head import Features, HeadContext, Similarity, mean_of, unit

VERSION = 1
SEES_ORDER = "blocks over the frames, each with a learned position"
OPEN = ("Layers in MV-Adapter's row: CLIP4Clip's default meets the printed 8.45 %.",)


class SeqTransfSettings(DeclaredSettings):
    layers: int = setting(4, "code", "CLIP4Clip's default", at_least=1)


class FrameSequence(nn.Module):
    """f -> f + Blocks(f + p) for [M, F, E] with mask [M, F]."""

    def __init__(self, build: HeadContext, layers: int, rows: int):
        super().__init__()
        self.positions = clip_positions(build, rows)
        self.blocks = clip_blocks(build, layers)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        return frames + self.blocks(frames + self.positions[: frames.shape[1]], mask)


class SeqTransf(Similarity):
    ONE_VECTOR = True

    def __init__(self, build: HeadContext, layers: int):
        super().__init__()
        self.sequence = FrameSequence(build, layers, build.frames)

    def text_side(self, features: Features) -> Features:
        return {"text": unit(features["text"])}

    def video_side(self, features: Features) -> Features:
        mask = features["mask"]
        return {"video": mean_of(self.sequence(features["frames"], mask), mask)}

    def pairs(self, texts: Features, videos: Features) -> Tensor:
        return texts["text"] @ videos["video"].T


def make_head(settings: SeqTransfSettings, build: HeadContext) -> Similarity:
    return SeqTransf(build, settings.layers)
