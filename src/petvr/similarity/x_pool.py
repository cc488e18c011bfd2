"""X-Pool [Gorti et al. 2022, section 4, equations 4-8]: the text chooses which frames make up the video.

For text t [E] and frames f [F, E]:

    a = softmax_frames( (LN1(t) W_q) (LN1(f) W_k)^T / sqrt(E) ) (LN1(f) W_v) W_o        one head, no residual
    v = LN3( LN2(a) + Dropout(Linear(LN2(a))) )
    score = cosine(t, v)

LN1 serves text and frames. All five linear layers start as the identity with bias 0 [released code]. Inputs are raw
CLIP features. 1,316,352 numbers with E = 512. Padded frames get no weight (the released code never has any).

The weights of a pair sum to 1, so W_o is applied to the frames, once per video, instead of to every pair.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from petvr.errors import PetvrError
from petvr.similarity._head import Features, Similarity, attended, unit

VERSION = 1
DEFAULTS = {"dropout": 0.3}


class XPool(Similarity):
    def __init__(self, width, dropout):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value, self.out, self.linear = (nn.Linear(width, width) for _ in range(5))
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            for layer in (self.query, self.key, self.value, self.out, self.linear):
                nn.init.eye_(layer.weight)
                layer.bias.zero_()

    def text_side(self, features: Features) -> Features:
        text = features["text"]
        return {"text": unit(text), "query": self.query(self.norm1(text)) * text.shape[1] ** -0.5}

    def video_side(self, features: Features) -> Features:
        frames = self.norm1(features["frames"])
        return {"key": self.key(frames), "out": self.out(self.value(frames)), "mask": features["mask"]}

    def pair_cost(self, texts: Features, videos: Features) -> int:
        return 6 * texts["text"].shape[1]

    def pairs(self, texts: Features, videos: Features) -> Tensor:
        weights = attended((videos["key"] @ texts["query"].T).transpose(1, 2), videos["mask"][:, None])  # [M, N, F]
        pooled = self.norm2(weights @ videos["out"])  # [M, N, E]
        pooled = self.norm3(pooled + self.dropout(self.linear(pooled)))
        return (unit(pooled) * texts["text"]).sum(dim=-1).T


def build(setting, made):
    if not 0 <= setting.dropout < 1:
        raise PetvrError(f"similarity 'x_pool': setting 'dropout': {setting.dropout:g} given, allowed: 0 to below 1")
    return XPool(made.embed, setting.dropout)
