"""TS2-Net's token selection and its pooling by text [Liu et al. 2022, sections 3.3 and 3.4].

Of every frame's patches, all projected into the joint space, the k = 3 that score best stay beside its CLS:

    score(x) = tanh( GELU( [GELU(LN(x) A), GELU(LN(cls) A)] B ) c )      A [E, E/2], B [E, E/2], c [E/2, 1], no biases

The choice is made differentiable by perturbation [Berthet et al. 2020]: S = 500 times noise N(0, 1) times 0.05 is added
to the scores, the indicators of the best k, in the order of their places, are averaged. Their gradient (`gradient`):
`released` as the code takes it, the mean of sum_k G[k, p] indicator[k, p] noise[p] / 0.05; `full` as Berthet's, where
each place's noise meets all indicators: right by finite differences. The two have a cosine of 0.3 to 0.6.
Training only: the released code draws in evaluation too, so that its scores vary.

The 4 F tokens, frame by frame, pass seqTransf's blocks with its positions (as many rows as tokens, 77 at least) and its
residual; each frame's CLS comes out as r_j. With text t and s_j = cosine(t, r_j):

    score = sum_j w_j s_j,   w = softmax_j( 4 s_j / |s| ),   |s| over the valid frames

The mask of a frame holds for its four tokens (the released code tiles it, which is right only without padding).
12,912,384 numbers with E = 512 and up to 19 frames.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from petvr.registry import DeclaredSettings, setting
from petvr.similarity._blocks import draw_weights
from petvr.similarity._head import Features, HeadContext, Similarity, all_shown, unit
from petvr.similarity.seq_transf import FrameSequence

VERSION = 3
SEES_ORDER = "blocks over the frames' tokens, each with a learned position"
OPEN = (
    "Positions: the printed size fits 600 rows, where 77 to 256 are used.",
    "Evaluation: the released code draws noise there too and tiles the mask of padded frames; here it draws none "
    "and the mask is that of the frames.",
)


class Ts2NetHeadSettings(DeclaredSettings):
    layers: int = setting(4, "code", "seqTransf's", at_least=1)
    tokens: int = setting(3, "code", "the released k", at_least=1)
    samples: int = setting(500, "code", "S of the perturbation", at_least=1)
    sigma: float = setting(0.05, "code", "of the perturbation", above=0)
    gradient: str = setting("released", "code", "of the perturbation; see above", choices=("released", "full"))
    sharpness: float = setting(4.0, "code", "of the softmax over frames", below=40)


class MeanBest(torch.autograd.Function):
    """scores [R, P], noise [R, S, P] -> mean indicator of the k best in the order of their places [R, k, P]."""

    @staticmethod
    def forward(ctx, scores: Tensor, noise: Tensor, k: int, sigma: float, full: bool) -> Tensor:
        places = (scores[:, None] + sigma * noise).topk(k, dim=-1).indices.sort(dim=-1).values.transpose(1, 2)
        ctx.save_for_backward(places, noise)
        ctx.sigma, ctx.full = sigma, full
        share = scores.new_zeros(len(scores), k, scores.shape[1])
        return share.scatter_add_(2, places, torch.full_like(places, 1 / noise.shape[1], dtype=scores.dtype))

    @staticmethod
    def backward(ctx, grad: Tensor):
        places, noise = ctx.saved_tensors
        along = grad.gather(2, places)  # [R, k, S]
        if ctx.full:
            slope = torch.einsum("rs,rsp->rp", along.sum(dim=1), noise)
        else:
            own = along * noise.gather(2, places.transpose(1, 2)).transpose(1, 2)
            slope = noise.new_zeros(noise.shape[0], noise.shape[2]).scatter_add_(1, places.flatten(1), own.flatten(1))
        return slope / (noise.shape[1] * ctx.sigma), None, None, None, None


class PatchSelection(nn.Module):
    """cls [M, F, E], patches [M, F, P, E] -> the chosen patches [M, F, k, E]."""

    def __init__(self, width: int, settings: Ts2NetHeadSettings):
        super().__init__()
        half = width // 2
        self.norm = nn.LayerNorm(width)
        self.each, self.joined = nn.Linear(width, half, bias=False), nn.Linear(2 * half, half, bias=False)
        self.score = nn.Linear(half, 1, bias=False)
        self.settings = settings
        draw_weights(self)

    def scores(self, cls: Tensor, patches: Tensor) -> Tensor:
        x, c = (functional.gelu(self.each(self.norm(part))) for part in (patches, cls))
        of_patch, of_cls = self.joined.weight.chunk(2, dim=1)  # a frame's CLS passes once, not with every patch
        both = functional.linear(x, of_patch) + functional.linear(c, of_cls)[..., None, :]
        return torch.tanh(self.score(functional.gelu(both))).squeeze(-1)

    def forward(self, cls: Tensor, patches: Tensor) -> Tensor:
        scores, k = self.scores(cls, patches), min(self.settings.tokens, patches.shape[2])
        if not self.training:
            places = scores.topk(k, dim=-1).indices.sort(dim=-1).values
            return patches.gather(2, places[..., None].expand(*places.shape, patches.shape[3]))
        videos, frames, count = scores.shape
        noise = torch.randn(videos, frames, self.settings.samples, count, device=scores.device)
        full = self.settings.gradient == "full"
        best = MeanBest.apply(scores.flatten(0, 1), noise.flatten(0, 1), k, self.settings.sigma, full)
        return best.unflatten(0, (videos, frames)) @ patches


class TS2Net(Similarity):
    NEEDS = ("patches",)
    PADDED = ("frames",)
    IN_CACHE = 16
    TALL = 4
    STOCHASTIC = True

    def __init__(self, build: HeadContext, settings: Ts2NetHeadSettings):
        super().__init__()
        self.sharpness = settings.sharpness
        self.selection = PatchSelection(build.embed, settings)
        self.sequence = FrameSequence(build, settings.layers, build.frames * (1 + settings.tokens))

    def text_side(self, features: Features) -> Features:
        return {"text": unit(features["text"])}

    def video_side(self, features: Features) -> Features:
        frames, mask = features["frames"], features["mask"]
        tokens = torch.cat([frames[:, :, None], self.selection(frames, features["patches"])], dim=2)  # [M, F, 1 + k, E]
        each = tokens.shape[2]
        out = self.sequence(tokens.flatten(1, 2), mask.repeat_interleave(each, dim=1))
        return {"frames": unit(out[:, ::each]).masked_fill(~mask[..., None], 0), "mask": mask}

    def pair_cost(self, texts: Features, videos: Features) -> int:
        return 4 * videos["mask"].shape[1]

    def pairs(self, texts: Features, videos: Features) -> Tensor:
        scores = videos["frames"] @ texts["text"].T  # [m, F, n], zero where the mask hides
        over_length = scores.square().sum(dim=1, keepdim=True).clamp(min=1e-24).rsqrt()
        shares = (scores * (self.sharpness * over_length)).exp_()  # of +-sharpness at most: no largest is subtracted
        shares = shares if all_shown(videos["mask"]) else shares * videos["mask"][..., None]
        return ((shares * scores).sum(dim=1) / shares.sum(dim=1).clamp(min=1e-24)).T


def make_head(settings: Ts2NetHeadSettings, build: HeadContext) -> Similarity:
    return TS2Net(build, settings)
