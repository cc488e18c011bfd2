"""Parameter-free mean pooling, CLIP4Clip's "meanP" [Luo et al. 2021, section 3.3].

Every frame is normalised, the valid ones are averaged, and the score is the cosine with the text.
"""

from __future__ import annotations

from torch import Tensor

from petvr.registry import DeclaredSettings
from petvr.similarity._head import Features, HeadContext, Similarity, mean_of, unit

VERSION = 1
OPEN = ("RAP does not say that it pools by the mean; its section 3.3 does so for the selection alone.",)


class MeanPool(Similarity):
    ONE_VECTOR = True

    def text_side(self, features: Features) -> Features:
        return {"text": unit(features["text"])}

    def video_side(self, features: Features) -> Features:
        return {"video": mean_of(features["frames"], features["mask"])}

    def pairs(self, texts: Features, videos: Features) -> Tensor:
        return texts["text"] @ videos["video"].T


def make_head(settings: DeclaredSettings, build: HeadContext) -> Similarity:
    return MeanPool()
