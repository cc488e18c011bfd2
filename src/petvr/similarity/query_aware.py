"""Parameter-free query-aware pooling [Jiang et al. 2022, Cross-Modal Adapter, section 3.3, equations 7-8].

For every pair of text t and video with frames f_1..f_F the frames are weighted by softmax_j(<t, f_j> / tau), their
weighted sum v is compared with t by cosine. Products and sums use raw features: normalised before, tau = 5 would make
the weights practically equal [released code].

v is never formed for all pairs: with a the weights, <t, v> = sum_j a_j <t, f_j> and |v|^2 = a^T G a, where G [F, F] is
the video's Gram matrix. So a pair costs F numbers instead of E.
"""

from __future__ import annotations

from torch import Tensor

from petvr.registry import DeclaredSettings, setting
from petvr.similarity._head import Features, HeadContext, Similarity, attended

VERSION = 1
OPEN = (
    "Whether features are normalised before the weights: the paper does not say, the code does not; normalised, a "
    "temperature of 5 would be nearly uniform.",
    "Whether the logit scale multiplies the cosine: equations 9 and 10 show none, the code has CLIP's.",
)

TINY = 1e-12


class QueryAwareSettings(DeclaredSettings):
    tau: float = setting(5.0, "paper", "Cross-Modal Adapter section 4; on raw features in its code", above=0)


class QueryAware(Similarity):
    def __init__(self, tau: float):
        super().__init__()
        self.tau = tau

    def video_side(self, features: Features) -> Features:
        frames = features["frames"]
        return {"frames": frames, "mask": features["mask"], "gram": frames @ frames.transpose(1, 2)}

    def pair_cost(self, texts: Features, videos: Features) -> int:
        return 4 * videos["frames"].shape[1]

    def pairs(self, texts: Features, videos: Features) -> Tensor:
        text = texts["text"]
        products = videos["frames"] @ text.T  # [m, F, n]
        weights = attended(products / self.tau, videos["mask"][..., None], dim=1)
        together = (weights * products).sum(dim=1)  # <t, v>, [m, n]
        squares = ((videos["gram"] @ weights) * weights).sum(dim=1)  # |v|^2
        length = squares.clamp(min=TINY).sqrt() * text.norm(dim=-1).clamp(min=TINY)
        return (together / length).T


def make_head(settings: QueryAwareSettings, build: HeadContext) -> Similarity:
    return QueryAware(settings.tau)
