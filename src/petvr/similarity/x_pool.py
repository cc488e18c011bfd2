"""X-Pool [Gorti et al. 2022, section 4, equations 4-8]: the text chooses which frames make up the video.

For text t [E] and frames f [F, E]:

    a = softmax_frames( (LN1(t) W_q) (LN1(f) W_k)^T / sqrt(E) ) (LN1(f) W_v) W_o        one head, no residual
    v = LN3( LN2(a) + Dropout(Linear(LN2(a))) )
    score = cosine(t, v)

LN1 serves text and frames. All five linear layers start as the identity with bias 0 [released code]. Inputs are raw
CLIP features. 1,316,352 numbers with E = 512. Padded frames get no weight (the released code never has any).

The weights of a pair sum to 1, so W_o is applied to the frames, once per video, instead of to every pair. Without
dropout nothing else of width E is left to a pair either: with C x = x - mean(x), o_j = W_o W_v LN1(f_j) + biases,
b_2 the bias of LN2, g_2, g_3 the scales of LN2 and LN3, and L, l the last linear layer,

    LN2(a) + Linear(LN2(a)) = sum_j a_j z_j / s_2 + d,   z_j = (I + L) (g_2 * C o_j),   d = (I + L) b_2 + l

and s_2^2, LN3's s_3^2 and |v|^2 are quadratic forms of the weights a_j in Gram matrices [F, F] that belong to the
video. So a pair costs its F weights and F products <g_3 * t, C z_j>, and no product with an E x E matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from petvr.registry import DeclaredSettings, setting
from petvr.similarity._head import Features, HeadContext, Similarity, attended, unit

VERSION = 2
OPEN = ("Dropout of VoP's rows: X-Pool's code sets 0.3 on MSR-VTT-9k, 0.4 on MSR-VTT-7k and MSVD.",)

TINY = 1e-12


class XPoolSettings(DeclaredSettings):
    dropout: float = setting(0.3, "code", "on MSR-VTT-9k and LSMDC; 0.4 on MSR-VTT-7k and MSVD", below=1)


class XPool(Similarity):
    PADDED = ("key", "moved", "toward")
    IN_CACHE = 8
    TALL = 4

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value, self.out, self.linear = (nn.Linear(width, width) for _ in range(5))
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            for layer in (self.query, self.key, self.value, self.out, self.linear):
                nn.init.eye_(layer.weight)
                layer.bias.zero_()

    def text_side(self, features: Features) -> Features:
        text = unit(features["text"])
        sides = {"text": text, "query": self.query(self.norm1(features["text"])) * text.shape[1] ** -0.5}
        if not self.training:
            sides |= {"scaled": text * self.norm3.weight, "shifted": text @ self.norm3.bias}
        return sides

    def video_side(self, features: Features) -> Features:
        frames = self.norm1(features["frames"])
        key, out = self.key(frames), self.out(self.value(frames))
        if self.training:
            return {"key": key, "out": out, "mask": features["mask"]}
        out = centred(out)
        scaled = self.norm2.weight * out
        moved = centred(scaled + functional.linear(scaled, self.linear.weight))  # C z_j
        shown = moved * self.norm3.weight
        grams = torch.stack([x @ x.transpose(1, 2) / x.shape[2] for x in (out, moved, shown)], dim=1)  # [M, 3, F, F]
        fixed = self.fixed()
        toward = torch.stack([fixed, fixed * self.norm3.weight.square(), self.norm3.weight * self.norm3.bias], dim=1)
        return {"key": key, "moved": moved, "grams": grams, "toward": moved @ toward, "mask": features["mask"]}

    def fixed(self) -> Tensor:
        """C d [E]"""
        return centred(self.norm2.bias + self.linear(self.norm2.bias))

    def pair_cost(self, texts: Features, videos: Features) -> int:
        return 8 * videos["mask"].shape[1]

    def pairs(self, texts: Features, videos: Features) -> Tensor:
        weights = attended(videos["key"] @ texts["query"].T, videos["mask"][..., None], dim=1)  # [m, F, n]
        if self.training:
            return self.dropped(texts, videos, weights)
        width, fixed, scale, shift = texts["text"].shape[1], self.fixed(), self.norm3.weight, self.norm3.bias
        count = weights.shape[1]
        grams = videos["grams"][:, :, :count, :count].flatten(1, 2)
        forms = (grams @ weights).unflatten(1, (3, count))  # [m, 3, F, n]
        before, moved, shown = (forms * weights[:, None]).sum(dim=2).unbind(dim=1)  # each [m, n], divided by E
        along, along_shown, along_shift = (videos["toward"].transpose(1, 2) @ weights).unbind(dim=1)
        less = (before + self.norm2.eps).rsqrt()  # 1 / s_2
        variance = moved * less.square() + 2 * along * less / width + fixed.square().mean()
        less3 = (variance + self.norm3.eps).rsqrt()  # 1 / s_3
        product = ((videos["moved"] @ texts["scaled"].T) * weights).sum(dim=1) * less + texts["scaled"] @ fixed
        product = product * less3 + texts["shifted"]  # <t, v>
        squares = width * shown * less.square() + 2 * along_shown * less + (scale * fixed).square().sum()
        cross = along_shift * less + (scale * shift * fixed).sum()
        squares = squares * less3.square() + 2 * cross * less3 + shift.square().sum()  # |v|^2
        return (product / squares.clamp(min=TINY).sqrt()).T

    def dropped(self, texts: Features, videos: Features, weights: Tensor) -> Tensor:
        """The same as written above, pair by pair, with dropout."""
        pooled = self.norm2(weights.transpose(1, 2) @ videos["out"])  # [m, n, E]
        pooled = self.norm3(pooled + self.dropout(self.linear(pooled)))
        return (unit(pooled) * texts["text"]).sum(dim=-1).T


def centred(x: Tensor) -> Tensor:
    return x - x.mean(dim=-1, keepdim=True)


def make_head(settings: XPoolSettings, build: HeadContext) -> Similarity:
    return XPool(build.embed, settings.dropout)
