"""Hunyuan_tvr [Min et al. 2022], an APPROXIMATION: three levels on either side, each compared with its counterpart.

Known [abstract, the authors' own description]: frames -> clips -> video and words -> phrases -> sentence, each step an
aggregation layer of self-attention and a feed-forward layer; contrast of frames with words, clips with phrases, video
with sentence. Known of MV-Adapter's "Hunyuan*": CLIP is frozen, its 11.97 % are the same for 12 and 64 frames, and part
of it is drawn at random. seqTransf and four layers of attention and ONE linear layer have 17,910,272 numbers, 11.97 %:

    frames r = f + Blocks(f + p)                                    CLIP4Clip's seqTransf
    Agg(x) = y + Linear(LN(y)),  y = x + MHA(LN(x))                 8 heads
    clips  = sums of Agg1(r) over frames with weights softmax( Agg1(r) . s_k / sqrt(E) ), s_k = K of Agg1(r), evenly
    video  = mean of Agg2(clips);  phrases, sentence: Agg3, Agg4 likewise from the words, SOT and EOT included

Chosen, and open: the layer itself (residuals, weights N(0, 0.02)), how tokens are grouped, K = 3 clips and phrases, the
comparison of sets (mean over either side of the best counterpart, both directions averaged), equal weights of the three
levels, and that each has its own contrastive loss. Left out, for lack of what they need (two draws of frames, margins):
adaptive label denoising and marginal sample enhancement, which change the loss alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from petvr.registry import DeclaredSettings, setting
from petvr.similarity._blocks import draw_weights
from petvr.similarity._head import Features, HeadContext, Similarity, attended, frame_major, unit
from petvr.similarity.seq_transf import FrameSequence

VERSION = 2
SEES_ORDER = "seqTransf's blocks over the frames with learned positions, and groups seeded by place"
OPEN = (
    "Nearly all, no code is public: the aggregation layer, how tokens are grouped, K = 3 clips and phrases, the "
    "comparison of sets (mean over either side of the best counterpart), equal weights of the levels.",
    "Label denoising and marginal sample enhancement are left out: numbers of draws, margin and weight are unknown.",
)


class HunyuanSettings(DeclaredSettings):
    layers: int = setting(4, "count", "with one-layer aggregations 11.97 %, as printed by MV-Adapter", at_least=1)
    clips: int = setting(3, "guess", "no code is public", at_least=1)
    phrases: int = setting(3, "guess", "no code is public", at_least=1)


class Aggregation(nn.Module):
    """x [B, S, E], mask [B, S] -> the same, every token having seen all valid ones."""

    def __init__(self, width: int):
        super().__init__()
        self.heads = max(1, width // 64)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out, self.linear = (nn.Linear(width, width) for _ in range(5))
        draw_weights(self)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        h = self.norm1(x)
        q, k, v = (
            part(h).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        seen = (mask | ~mask.any(dim=1, keepdim=True))[:, None, None]
        y = x + self.out(functional.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).flatten(2))
        return y + self.linear(self.norm2(y))


def grouped(x: Tensor, mask: Tensor, groups: int) -> Tensor:
    """x [B, S, E] -> [B, K, E]: a group is what resembles its seed; seeds stand evenly among the valid tokens."""
    order = mask.int().argsort(dim=1, descending=True, stable=True)  # the valid places first, in their order
    numbers = torch.arange(groups, device=x.device) * mask.sum(dim=1, keepdim=True) // groups
    seeds = x.gather(1, order.gather(1, numbers)[..., None].expand(-1, -1, x.shape[2]))
    shares = attended(seeds @ x.transpose(1, 2) * x.shape[2] ** -0.5, mask[:, None])
    return shares @ x


class Hunyuan(Similarity):
    NEEDS = ("words",)
    PADDED = ("words", "frames")
    IN_CACHE = 4
    LEVELS = (1 / 3, 1 / 3, 1 / 3)

    def __init__(self, build: HeadContext, settings: HunyuanSettings):
        super().__init__()
        self.settings = settings
        self.sequence = FrameSequence(build, settings.layers, build.frames)
        self.to_clips, self.to_video, self.to_phrases, self.to_sentence = (Aggregation(build.embed) for _ in range(4))

    def text_side(self, features: Features) -> Features:
        words, mask = features["words"], features["word_mask"]
        phrases, sentence = self.levels_of(words, mask, self.to_phrases, self.to_sentence, self.settings.phrases)
        return {"text": sentence, "words": unit(words), "mask": mask, "phrases": phrases}

    def video_side(self, features: Features) -> Features:
        mask = features["mask"]
        frames = self.sequence(features["frames"], mask)
        clips, video = self.levels_of(frames, mask, self.to_clips, self.to_video, self.settings.clips)
        return {"video": video, "frames": unit(frames), "mask": mask, "clips": clips}

    def levels_of(self, x: Tensor, mask: Tensor, first: nn.Module, second: nn.Module, groups: int):
        """Normalised groups [B, K, E] and the whole [B, E] of tokens [B, S, E]."""
        parts = grouped(first(x, mask), mask, groups)
        everything = torch.ones(parts.shape[:2], dtype=torch.bool, device=x.device)
        return unit(parts), unit(second(parts, everything).mean(dim=1))

    def pair_cost(self, texts: Features, videos: Features) -> int:
        return 2 * texts["words"].shape[1] * videos["frames"].shape[1]

    def pairs(self, texts: Features, videos: Features) -> Tensor:
        phrases, clips = texts["phrases"], videos["clips"]
        all_phrases, all_clips = (torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) for x in (phrases, clips))
        # here and not in the sides: texts that are joined from parts of several lengths are padded with zeros
        words, frames = doubled(texts["words"], texts["mask"]), doubled(videos["frames"], videos["mask"])
        fine = between(words, texts["mask"], frames, videos["mask"])
        middle = between(phrases, all_phrases, clips, all_clips)
        return torch.stack([fine, middle, texts["text"] @ videos["video"].T])


def doubled(x: Tensor, mask: Tensor) -> Tensor:
    """x [B, S, E] with its first valid token in every hidden place: none of them is anybody's only best."""
    first = x.gather(1, mask.int().argmax(dim=1)[:, None, None].expand(-1, 1, x.shape[2]))
    return torch.where(mask[..., None], x, first)


def between(left: Tensor, left_mask: Tensor, right: Tensor, right_mask: Tensor) -> Tensor:
    """Two kinds of sets, [n, A, E] and [m, B, E] -> [n, m]: the best counterpart of each, averaged on either side.

    Hidden places are copies of shown ones (`doubled`), so the maxima need no mask.
    """
    scores = (left @ frame_major(right)).unflatten(2, (right.shape[1], right.shape[0]))  # [n, A, B, m]
    best_left, best_right = scores.amax(dim=2), scores.amax(dim=1)  # [n, A, m], [n, B, m]
    shares = [mask / mask.sum(dim=1, keepdim=True).clamp(min=1) for mask in (left_mask, right_mask)]
    return ((shares[0][:, None] @ best_left).squeeze(1) + (best_right * shares[1].T).sum(dim=1)) / 2


def make_head(settings: HunyuanSettings, build: HeadContext) -> Similarity:
    return Hunyuan(build, settings)
