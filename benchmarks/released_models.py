"""Six methods as their released code runs a step, written from the papers for benchmarks/released_steps.py.

The order of operations is that of the repositories (docs/protocols.md), all in fp32. CLIP4Clip, MV-Adapter, Cross-Modal
Adapter, X-CLIP and ST-Adapter stand on OpenAI's CLIP: a stream [S, R, D], nn.MultiheadAttention, QuickGELU in three
operations, the last LayerNorm and the projection over all tokens before CLS or EOT is read. X-Pool stands on the
CLIPModel of its day: q, k, v apart, attention as two batched products around a softmax.

Legend: B videos and texts, F frames, W words, S tokens, R rows (frames or texts), D width, E embedding, d bottleneck.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from petvr.clip.towers import Block as OurBlock
from petvr.training.model import Model


class Links:
    """Which tensors here hold the numbers of which of ours: one, or several behind one another, turned where the
    product is written the other way round."""

    def __init__(self) -> None:
        self.pairs: list[tuple[nn.Parameter, tuple[nn.Parameter, ...], bool]] = []

    def tensor(self, *ours: nn.Parameter, turned: bool = False) -> nn.Parameter:
        """A copy that trains where ours do."""
        theirs = nn.Parameter(joined(ours, turned), any(part.requires_grad for part in ours))
        self.pairs.append((theirs, ours, turned))
        return theirs

    def layer(self, theirs: nn.Module, *ours: nn.Module) -> nn.Module:
        """A Linear or LayerNorm under the numbers of ours."""
        for name in ("weight", "bias"):
            setattr(theirs, name, self.tensor(*(getattr(part, name) for part in ours)))
        return theirs


def joined(parts: tuple[Tensor, ...], turned: bool) -> Tensor:
    """In memory of its own."""
    whole = torch.cat([part.detach() for part in parts]) if parts[0].dim() else parts[0].detach().clone()
    return whole.T.contiguous() if turned else whole


def gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


class Norm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.type(torch.float32)).type(x.dtype)


class NormByHand(nn.LayerNorm):
    """As TensorFlow's, which the blocks over frames have."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        variance = (x - mean).pow(2).mean(-1, keepdim=True)
        return self.weight * ((x - mean) / torch.sqrt(variance + self.eps)) + self.bias


class Attention(nn.MultiheadAttention):
    def __init__(self, links: Links, qkv: list[nn.Linear], out: nn.Linear, heads: int) -> None:
        super().__init__(out.in_features, heads)
        self.in_proj_weight = links.tensor(*(part.weight for part in qkv))
        self.in_proj_bias = links.tensor(*(part.bias for part in qkv))
        links.layer(self.out_proj, out)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return super().forward(x, x, x, need_weights=False, attn_mask=mask)[0]


class SplitAttention(nn.Module):
    """On [R, S, D]."""

    def __init__(self, links: Links, qkv: list[nn.Linear], out: nn.Linear, heads: int) -> None:
        super().__init__()
        width = out.in_features
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.q, self.k, self.v, self.out = (links.layer(nn.Linear(width, width), part) for part in (*qkv, out))

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2).contiguous().flatten(0, 1)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = self.split(self.q(x) * self.scale), self.split(self.k(x)), self.split(self.v(x))
        shares = torch.bmm(q, k.transpose(1, 2))
        if mask is not None:
            shares = (shares.unflatten(0, (-1, self.heads)) + mask).flatten(0, 1)
        mixed = torch.bmm(functional.dropout(shares.softmax(dim=-1), p=0.0, training=True), v)
        return self.out(mixed.unflatten(0, (-1, self.heads)).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """A block of a tower; what a method adds is put at one of four places."""

    def __init__(self, links: Links, ours: OurBlock, attention: type = Attention, norm: type = Norm) -> None:
        super().__init__()
        attn, width = ours.self_attn, ours.mlp.fc1.in_features
        self.attn = attention(links, [attn.q_proj, attn.k_proj, attn.v_proj], attn.out_proj, attn.heads)
        self.ln_1 = links.layer(norm(width, eps=ours.layer_norm1.eps), ours.layer_norm1)
        self.ln_2 = links.layer(norm(width, eps=ours.layer_norm2.eps), ours.layer_norm2)
        self.fc1 = links.layer(nn.Linear(width, ours.mlp.fc1.out_features), ours.mlp.fc1)
        self.fc2 = links.layer(nn.Linear(ours.mlp.fc1.out_features, width), ours.mlp.fc2)
        self.before_attn, self.after_attn, self.before_mlp, self.after_mlp = (nn.Identity() for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.before_attn(x)
        x = x + self.after_attn(self.attn(self.ln_1(x), mask))
        x = self.before_mlp(x)
        return x + self.after_mlp(self.fc2(gelu(self.fc1(self.ln_2(x)))))


class Towers(nn.Module):
    """[BF, 3, H, W] -> [BF, E]; [B, W] -> every word and the sentence, [B, W, E], [B, E]."""

    def __init__(self, links: Links, model: Model, old: bool = False) -> None:
        super().__init__()
        clip, self.old = model.adapted.clip, old
        vision, text = clip.vision_model, clip.text_model
        width, norm = clip.config.vision.width, nn.LayerNorm if old else Norm
        self.conv = nn.Conv2d(3, width, clip.config.patch, clip.config.patch, bias=False)
        self.conv.weight = links.tensor(vision.embeddings.patch_embedding.weight)
        self.cls = links.tensor(vision.embeddings.class_embedding)
        self.places = links.tensor(vision.embeddings.position_embedding.weight)
        self.words = nn.Embedding(1, clip.config.text.width)
        self.words.weight = links.tensor(text.embeddings.token_embedding.weight)
        self.word_places = links.tensor(text.embeddings.position_embedding.weight)
        norms = vision.pre_layrnorm, vision.post_layernorm, text.final_layer_norm
        self.ln_pre, self.ln_post, self.ln_final = (
            links.layer(norm(part.normalized_shape, eps=part.eps), part) for part in norms
        )
        attention = SplitAttention if old else Attention
        self.vision = nn.ModuleList(Layer(links, part, attention, norm) for part in vision.encoder.layers)
        self.text = nn.ModuleList(Layer(links, part, attention, norm) for part in text.encoder.layers)
        self.proj = links.tensor(clip.visual_projection.weight, turned=True)
        self.text_proj = links.tensor(clip.text_projection.weight, turned=True)
        self.logit_scale = links.tensor(clip.logit_scale)

    def through(self, layers: nn.ModuleList, x: Tensor, mask: Tensor | None) -> Tensor:
        """x [R, S, D]; OpenAI's blocks have the tokens in front."""
        x = x if self.old else x.permute(1, 0, 2)
        for layer in layers:
            x = layer(x, mask)
        return x if self.old else x.permute(1, 0, 2)

    def frames(self, pixels: Tensor) -> Tensor:
        x = self.conv(pixels)
        x = x.reshape(x.shape[0], x.shape[1], -1).permute(0, 2, 1)
        cls = self.cls + torch.zeros(x.shape[0], 1, x.shape[-1])
        x = self.through(self.vision, self.ln_pre(torch.cat([cls, x], dim=1) + self.places), None)
        return self.ln_post(x[:, 0]) @ self.proj if self.old else (self.ln_post(x) @ self.proj)[:, 0]

    def sentences(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        x = self.words(ids) + self.word_places[: ids.shape[1]]
        x = self.through(self.text, x, causal(ids.shape[1]))
        x, last = self.ln_final(x), (torch.arange(ids.shape[0]), ids.argmax(dim=-1))
        if self.old:
            return x, x[last] @ self.text_proj
        x = x @ self.text_proj
        return x, x[last]


# what is added to the blocks ------------------------------------------------------------------------------------------


class CrossModal(nn.Module):
    """Own and shared channels, each with its bias, side by side."""

    def __init__(self, links: Links, ours: nn.Module, shared: tuple[nn.Parameter, nn.Parameter]) -> None:
        super().__init__()
        self.down, self.down_bias = links.tensor(ours.down), links.tensor(ours.down_bias)
        self.own, self.own_bias = links.tensor(ours.unique), links.tensor(ours.unique_bias)
        self.shared, self.shared_bias = shared

    def forward(self, h: Tensor) -> Tensor:
        z = gelu(h @ self.down + self.down_bias)
        return h + torch.cat([z @ self.own + self.own_bias, z @ self.shared + self.shared_bias], dim=-1)


class Mixer(nn.Module):
    """MV-Adapter's small transformer block: positions, a LayerNorm, one block, QuickGELU, on [N, S, d]."""

    def __init__(self, links: Links, ours: nn.Module) -> None:
        super().__init__()
        width = ours.out.in_features
        self.places = links.tensor(ours.positions)
        self.norm, self.ln_1, self.ln_2 = (
            links.layer(Norm(width), part) for part in (ours.norm, ours.norm1, ours.norm2)
        )
        self.attn = Attention(links, [ours.qkv], ours.out, heads=2)
        self.fc1 = links.layer(nn.Linear(width, 4 * width), ours.fc1)
        self.fc2 = links.layer(nn.Linear(4 * width, width), ours.fc2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm(x + self.places[: x.shape[1]]).permute(1, 0, 2)
        x = x + self.attn(self.ln_1(x), mask)
        x = x + self.fc2(gelu(self.fc1(self.ln_2(x))))
        return gelu(x.permute(1, 0, 2))


class MvBranch(nn.Module):
    """One block's adapter of MV-Adapter. `tie`: the shared factor, where W_down's input channels are rescaled."""

    def __init__(self, links: Links, ours: nn.Module, frames: int, scale: float, factor: nn.Parameter | None) -> None:
        super().__init__()
        self.frames, self.scale, self.factor = frames, scale, factor
        width, outer = ours.down.out_features, ours.down.in_features
        self.down = links.layer(nn.Linear(outer, width), ours.down)
        self.up = links.layer(nn.Linear(width, outer), ours.up)
        self.mixer = Mixer(links, ours.trm)
        if factor is not None:
            self.tie = links.layer(nn.Linear(len(factor), outer), ours.tie.project)
        if frames:
            self.cc, calibration = links.tensor(ours.cc), ours.calibration
            self.video = links.layer(nn.Linear(width, width), calibration.video)
            self.fc1 = links.layer(nn.Linear(2 * width, calibration.fc1.out_features), calibration.fc1)
            self.fc2 = links.tensor(calibration.fc2.weight)

    def forward(self, y: Tensor) -> Tensor:
        """y [S, R, D]"""
        weight = self.down.weight if self.factor is None else self.down.weight * self.tie(self.factor)
        z = functional.linear(y.permute(1, 0, 2), weight, self.down.bias)
        z = self.over_frames(gelu(z)) if self.frames else self.mixer(z, causal(z.shape[1]))
        return y + self.scale * self.up(z).permute(1, 0, 2)

    def over_frames(self, z: Tensor) -> Tensor:
        cls = z[:, 0].reshape(-1, self.frames, z.shape[-1])
        patch = z[:, 1:].reshape(*cls.shape[:2], -1, z.shape[-1]).mean(dim=2)
        cc = self.cc.expand(len(cls), 1, -1)
        seen = torch.ones(len(cls), 1 + 2 * self.frames)
        hidden = ((1.0 - seen[:, None]) * -1e6).expand(-1, seen.shape[1], -1).repeat_interleave(2, dim=0)
        out = self.mixer(torch.cat([cc, cls, patch], dim=1), hidden)
        cc, cls, patch = out.split([1, self.frames, self.frames], dim=1)
        both = torch.cat([cls + patch, self.video(cc).expand_as(cls)], dim=-1)
        cls = cls * (1 + functional.linear(torch.relu(self.fc1(both)), self.fc2))
        return torch.cat([cls.flatten(0, 1)[:, None], z[:, 1:]], dim=1)


def causal(words: int) -> Tensor:
    return torch.full((words, words), float("-inf")).triu_(1)


class AlongTime(nn.Module):
    """ST-Adapter: a depthwise convolution over frames, as nn.Conv3d, between down and up; CLS stays."""

    def __init__(self, links: Links, ours: nn.Module, frames: int) -> None:
        super().__init__()
        self.frames, width = frames, ours.down.out_features
        self.down = links.layer(nn.Linear(ours.down.in_features, width), ours.down)
        self.up = links.layer(nn.Linear(width, ours.down.in_features), ours.up)
        self.taps, self.taps_bias = links.tensor(ours.taps, turned=True), links.tensor(ours.taps_bias)

    def forward(self, x: Tensor) -> Tensor:
        """x [S, B F, D]"""
        z = self.down(x[1:])
        side, width = math.isqrt(len(z)), z.shape[-1]
        z = z.permute(1, 0, 2).reshape(-1, self.frames, side, side, width).permute(0, 4, 1, 2, 3).contiguous()
        z = functional.conv3d(z, self.taps[:, None, :, None, None], self.taps_bias, padding=(1, 0, 0), groups=width)
        z = z.permute(0, 2, 3, 4, 1).reshape(-1, side * side, width).permute(1, 0, 2)
        return torch.cat([x[:1], x[1:] + self.up(z)])


# scores ---------------------------------------------------------------------------------------------------------------


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def mean_of(frames: Tensor, seen: Tensor) -> Tensor:
    """[B, F, E], [B, F] -> [B, E]"""
    frames, seen = unit(frames), seen[..., None]
    count = seen.sum(dim=1)
    count[count == 0] = 1
    return unit((frames * seen).sum(dim=1) / count)


class FrameBlocks(nn.Module):
    """CLIP4Clip's blocks over frames with additive masks, as X-CLIP takes them for the video's vector."""

    def __init__(self, links: Links, ours: nn.Module) -> None:
        super().__init__()
        self.places = links.tensor(ours.positions)
        self.layers = nn.ModuleList(Layer(links, part, norm=NormByHand) for part in ours.blocks)

    def forward(self, frames: Tensor, seen: Tensor) -> Tensor:
        hidden = ((1.0 - seen[:, None]) * -1e6).expand(-1, seen.shape[1], -1)
        x = (frames + self.places[: frames.shape[1]]).permute(1, 0, 2)
        for layer in self.layers:
            x = layer(x, hidden.repeat_interleave(layer.attn.num_heads, dim=0))
        return frames + x.permute(1, 0, 2)


class FineScores(nn.Module):
    """X-CLIP: sentence and words against video and frames, all pairs of a batch."""

    def __init__(self, links: Links, ours: nn.Module) -> None:
        super().__init__()
        self.blocks, self.tau = FrameBlocks(links, ours.sequence), ours.tau
        self.whole, self.fine = links.tensor(ours.coarse), links.tensor(ours.fine)
        self.video_words, self.words_1, self.words_2 = (
            links.tensor(part) for part in (ours.words_of_video, ours.words_first, ours.words_last)
        )
        self.text_frames, self.frames_1, self.frames_2 = (
            links.tensor(part) for part in (ours.frames_of_text, ours.frames_first, ours.frames_last)
        )

    def weighed(self, x: Tensor, matrix: Tensor, dim: int) -> Tensor:
        """sum x (softmax(x / tau) M), where M's rows are of what is summed over."""
        x = x.movedim(dim, -1)
        return (x * torch.matmul(torch.softmax(x / self.tau, dim=-1), matrix)).sum(dim=-1)

    def forward(self, words: Tensor, text: Tensor, frames: Tensor, seen: Tensor) -> Tensor:
        video, text, words = mean_of(self.blocks(frames, seen), seen), unit(text), unit(words)
        frames = unit(frames)
        scores = torch.matmul(torch.matmul(text, self.whole), video.t())
        scores = scores + self.weighed(torch.matmul(words, video.t()), self.video_words, 1)
        scores = scores + self.weighed(torch.einsum("ne,mfe->nmf", text, frames), self.text_frames, 2)
        fine = torch.einsum("nwe,mfe->nmwf", torch.matmul(words, self.fine), frames)
        first = self.weighed(self.weighed(fine, self.words_1, 2), self.frames_2, 2)
        second = self.weighed(self.weighed(fine, self.frames_1, 3), self.words_2, 2)
        return (scores + (first + second) / 2) / 4


class TextChoosesFrames(nn.Module):
    """X-Pool: a video's vector for every text, [B texts, B videos, E]."""

    def __init__(self, links: Links, ours: nn.Module) -> None:
        super().__init__()
        width = ours.query.in_features
        self.norm1, self.norm2, self.norm3 = (
            links.layer(nn.LayerNorm(width), part) for part in (ours.norm1, ours.norm2, ours.norm3)
        )
        self.query, self.key, self.value, self.out, self.linear = (
            links.layer(nn.Linear(width, width), part)
            for part in (ours.query, ours.key, ours.value, ours.out, ours.linear)
        )
        self.dropout = nn.Dropout(ours.dropout.p)

    def forward(self, words: Tensor, text: Tensor, frames: Tensor, seen: Tensor) -> Tensor:
        keys = self.norm1(frames)
        shares = self.key(keys) @ self.query(self.norm1(text)).t() / math.sqrt(text.shape[1])  # [m, F, n]
        pooled = self.value(keys).transpose(1, 2) @ torch.softmax(shares, dim=1)  # [m, E, n]
        pooled = self.norm2(self.out(pooled.transpose(1, 2)))
        pooled = self.norm3(pooled + self.dropout(self.linear(pooled)))
        return torch.bmm(unit(pooled).permute(1, 0, 2), unit(text)[:, :, None]).squeeze(-1)


def mean_scores(words: Tensor, text: Tensor, frames: Tensor, seen: Tensor) -> Tensor:
    return unit(text) @ mean_of(frames, seen).t()


def query_aware_scores(words: Tensor, text: Tensor, frames: Tensor, seen: Tensor) -> Tensor:
    """Cross-Modal Adapter: frames weighed by the text, tau 5, on raw features."""
    shares = torch.einsum("ne,mfe->nmf", text, frames) / 5.0
    shares = shares.masked_fill(seen[None] == 0, float("-inf")).softmax(dim=-1)
    pooled = torch.einsum("nmf,mfe->nme", shares, frames)
    return torch.einsum("ne,nme->nm", unit(text), unit(pooled))


# the six --------------------------------------------------------------------------------------------------------------


class Released(nn.Module):
    """The whole model: `loss(ids, pixels)` as a training step takes it."""

    def __init__(self, model: Model, old: bool = False) -> None:
        super().__init__()
        self.links = Links()
        self.towers = Towers(self.links, model, old)
        self.scores: Callable[..., Tensor] = mean_scores

    def loss(self, ids: Tensor, pixels: Tensor) -> Tensor:
        words, text = self.towers.sentences(ids)
        frames = self.towers.frames(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        seen = torch.ones(pixels.shape[:2])
        logits = self.scores(words, text, frames, seen) * self.towers.logit_scale.exp()
        losses = [-functional.log_softmax(each, dim=-1).diag().mean() for each in (logits, logits.t())]
        return sum(losses) / 2


def clip4clip(model: Model, frames: int) -> Released:
    return Released(model)


def mv_adapter(model: Model, frames: int) -> Released:
    theirs, ours = Released(model), model.adapted.new["mv_adapter"]
    factors = [theirs.links.tensor(factor) for factor in ours.factors]
    for tower in ("vision", "text"):
        for number, layer in enumerate(getattr(theirs.towers, tower)):
            factor = factors[number - ours.first[tower]] if number >= ours.first[tower] else None
            seen = frames if tower == "vision" else 0
            layer.after_mlp = MvBranch(theirs.links, ours.branches[tower][number], seen, ours.scale, factor)
    return theirs


def cross_modal_adapter(model: Model, frames: int) -> Released:
    theirs, ours = Released(model), model.adapted.new["cross_modal_adapter"]
    for place, attribute in (("attn_out", "after_attn"), ("mlp_out", "after_mlp")):
        for number, both in enumerate(ours[f"shared_{place}"]):
            shared = theirs.links.tensor(both.weight), theirs.links.tensor(both.bias)
            for tower in ("vision", "text"):
                part = CrossModal(theirs.links, ours[f"{tower}_{place}"][number], shared)
                setattr(getattr(theirs.towers, tower)[number], attribute, part)
    theirs.scores = query_aware_scores
    return theirs


def x_pool(model: Model, frames: int) -> Released:
    theirs = Released(model, old=True)
    theirs.scores = TextChoosesFrames(theirs.links, model.similarity)
    return theirs


def x_clip(model: Model, frames: int) -> Released:
    theirs = Released(model)
    theirs.scores = FineScores(theirs.links, model.similarity)
    return theirs


def st_adapter(model: Model, frames: int) -> Released:
    theirs, ours = Released(model), model.adapted.new["st_adapter"]
    for place, attribute in (("block_in", "before_attn"), ("mid", "before_mlp")):
        for layer, part in zip(theirs.towers.vision, ours[f"vision_{place}"], strict=True):
            setattr(layer, attribute, AlongTime(theirs.links, part, frames))
    return theirs
