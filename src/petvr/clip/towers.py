"""CLIP's two towers, block by block, under the parameter names of transformers' CLIPModel [Radford et al. 2021].

Legend: B videos or texts, F frames, P patches, W words, D width, E embedding; a row is one frame or one text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

from petvr.clip.config import ClipConfig, Tower
from petvr.clip.insert import ForwardState, Inserts
from petvr.errors import PetvrError


class QuickGelu(torch.autograd.Function):
    """x sigmoid(1.702 x); for its gradient, silu'(1.702 x), only x is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # with a setup_context torch would read its signature in every call
        ctx.save_for_backward(x)
        return torch.mul(x, 1.702).sigmoid_().mul_(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return torch.ops.aten.silu_backward(grad, 1.702 * ctx.saved_tensors[0])


def quick_gelu(x: Tensor) -> Tensor:
    return QuickGelu.apply(x)


ACTIVATIONS = {"quick_gelu": quick_gelu, "gelu": functional.gelu}


@cache
@torch.inference_mode(False)
def channel_constants(values: tuple[float, ...], device: torch.device) -> Tensor:
    """[3, 1, 1] on a 0..255 scale. Kept: to bring numbers to a GPU is to wait for it."""
    return torch.tensor(values, device=device, dtype=torch.float32).view(3, 1, 1) * 255


def add_positions(x: Tensor, positions: Tensor) -> Tensor:
    """x + positions; in an fp16 tower the sum is fp16 too, as OpenAI's code has it."""
    return x + (positions.half() if x.dtype == torch.float16 else positions)


class AsOne(torch.autograd.Function):
    """Tensors that lie behind one another in memory as one, without a copy; its gradient comes apart again."""

    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        ctx.count, first = len(parts), parts[0].detach()
        return first.as_strided((len(parts) * len(first), *first.shape[1:]), first.stride())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return grad.chunk(ctx.count)


def whole(*parts: Tensor) -> Tensor | None:
    """The parts as one tensor; None where they do not lie behind one another."""
    start, size = parts[0].data_ptr(), parts[0].nbytes
    if not start or any(part.data_ptr() != start + number * size for number, part in enumerate(parts)):
        return None
    return AsOne.apply(*parts)


class Attention(nn.Module):
    def __init__(self, config: Tower):
        super().__init__()
        self.heads = config.heads
        self.q_proj = nn.Linear(config.width, config.width)
        self.k_proj = nn.Linear(config.width, config.width)
        self.v_proj = nn.Linear(config.width, config.width)
        self.out_proj = nn.Linear(config.width, config.width)

    def pack(self) -> None:
        """Lay q's, k's and v's weights behind one another: from here on they are one product. Ends with `to`."""
        for name in ("weight", "bias"):
            parts = [getattr(layer, name) for layer in (self.q_proj, self.k_proj, self.v_proj)]
            for part, rows in zip(parts, torch.cat([part.detach() for part in parts]).chunk(3), strict=True):
                part.data = rows

    def packed(self) -> tuple[Tensor, Tensor] | None:
        """Weight and bias of all three as one; None where they lie apart."""
        q, k, v = self.q_proj, self.k_proj, self.v_proj
        weight, bias = whole(q.weight, k.weight, v.weight), whole(q.bias, k.bias, v.bias)
        return None if weight is None or bias is None else (weight, bias)

    def project(self, h: Tensor, packed: tuple[Tensor, Tensor] | None) -> tuple[Tensor, ...]:
        if packed is None:
            return self.q_proj(h), self.k_proj(h), self.v_proj(h)
        return functional.linear(h, *packed).chunk(3, dim=-1)

    def attend(self, qkv: tuple[Tensor, ...], key_mask: Tensor | None, causal: bool) -> Tensor:
        """What all heads have read, side by side."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in qkv)
        hidden = None if key_mask is None else key_mask[:, None, None, :]
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=hidden, is_causal=causal)
        return out.transpose(1, 2).flatten(2)

    def forward(self, h: Tensor, state: ForwardState, layer: int, stream: Tensor) -> Tensor:
        qkv = state.at("qkv", self.project(h, self.packed()), layer, input=h, residual=stream)
        mixed = self.attend(qkv, state.key_mask, state.tower == "text")
        return self.out_proj(state.at("attn_mixed", mixed, layer, input=h, residual=stream))


class Mlp(nn.Module):
    def __init__(self, config: Tower):
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.mlp)
        self.fc2 = nn.Linear(config.mlp, config.width)


class Block(nn.Module):
    """x = x + attention(LN1 x); x = x + MLP(LN2 x), with every place a method may act at."""

    def __init__(self, config: Tower):
        super().__init__()
        self.act = ACTIVATIONS[config.act]
        self.self_attn = Attention(config)
        self.layer_norm1 = nn.LayerNorm(config.width, eps=config.eps)
        self.mlp = Mlp(config)
        self.layer_norm2 = nn.LayerNorm(config.width, eps=config.eps)

    def forward(self, x: Tensor, state: ForwardState, i: int) -> Tensor:
        x = state.at("block_in", x, i)
        h = state.at("attn_in", self.layer_norm1(x), i, residual=x)
        out = self.self_attn(h, state, i, x)
        x = x + state.at("attn_out", out, i, input=h, residual=x)
        x = state.at("mid", x, i)
        h = state.at("mlp_in", self.layer_norm2(x), i, residual=x)
        hidden = state.activated(self.act, self.mlp.fc1(h), i, input=h, residual=x)
        x = x + state.at("mlp_out", self.mlp.fc2(hidden), i, input=h, residual=x)
        return state.at("block_out", x, i)


class Encoder(nn.Module):
    """recompute: a block keeps only what it reads for its backward pass, and is computed again there. compiled: what
    calls a block in training instead of itself (petvr.clip.compiled)."""

    def __init__(self, config: Tower):
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.recompute = False
        self.compiled: Callable[..., Tensor] | None = None

    def forward(self, x: Tensor, state: ForwardState, start: int = 0, stop: int | None = None) -> Tensor:
        """Blocks start..stop-1, so that a frozen beginning can be computed apart."""
        call = self.compiled if self.compiled is not None and self.training else Block.__call__
        for i in range(start, len(self.layers) if stop is None else stop):
            block = partial(call, self.layers[i])
            x = recomputed(block, x, state, i) if self.recompute else block(x, state, i)
        return x


def recomputed(block: Callable[..., Tensor], x: Tensor, state: ForwardState, layer: int) -> Tensor:
    """The block under activation checkpointing. The second time it finds the state and the modes of the first."""
    entry, modes, states = state.copy(), _get_current_function_mode_stack(), [state]

    def forward(x: Tensor) -> Tensor:
        return block(x, states.pop() if states else entry.copy(), layer)

    @contextlib.contextmanager
    def again() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for mode in modes:
                stack.enter_context(mode)
            yield

    return checkpoint(forward, x, use_reentrant=False, context_fn=lambda: (contextlib.nullcontext(), again()))


class PatchEmbedding(nn.Conv2d):
    """The convolution of patches that do not overlap as the one product it is: on a CPU twice as fast."""

    def __init__(self, width: int, patch: int):
        super().__init__(3, width, patch, stride=patch, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """[R, 3, H, W] -> [R, P, D]"""
        size = self.kernel_size[0]
        patches = pixels.unflatten(3, (-1, size)).unflatten(2, (-1, size)).permute(0, 2, 4, 1, 3, 5)
        return functional.linear(patches.flatten(3).flatten(1, 2), self.weight.flatten(1))


class VisionEmbeddings(nn.Module):
    def __init__(self, config: ClipConfig):
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(config.vision.width))
        self.patch_embedding = PatchEmbedding(config.vision.width, config.patch)
        self.position_embedding = nn.Embedding(config.patches + 1, config.vision.width)


class VisionTower(nn.Module):
    def __init__(self, config: ClipConfig):
        super().__init__()
        self.embeddings = VisionEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.vision.width, eps=config.vision.eps)  # transformers spells it so
        self.encoder = Encoder(config.vision)
        self.post_layernorm = nn.LayerNorm(config.vision.width, eps=config.vision.eps)

    def tokens(self, pixels: Tensor, state: ForwardState) -> Tensor:
        """pixels [R, 3, H, W] -> [R, 1 + P, D], what block 0 reads."""
        patches = state.at("embedded", self.embeddings.patch_embedding(pixels))
        cls = self.embeddings.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        x = add_positions(torch.cat([cls, patches], dim=1), self.embeddings.position_embedding.weight)
        return self.pre_layrnorm(state.at("tokens_in", x))

    def pooled(self, x: Tensor, state: ForwardState) -> Tensor:
        """The CLS of every row after the last LayerNorm, [R, D]; of every frame where frames were joined."""
        cls = x[:, : state.frames].flatten(0, 1) if state.joined else x[:, 0]
        return state.at("pooled", self.post_layernorm(cls))


class TextEmbeddings(nn.Module):
    def __init__(self, config: ClipConfig):
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab, config.text.width)
        self.position_embedding = nn.Embedding(config.positions, config.text.width)


class TextTower(nn.Module):
    def __init__(self, config: ClipConfig):
        super().__init__()
        self.embeddings = TextEmbeddings(config)
        self.encoder = Encoder(config.text)
        self.final_layer_norm = nn.LayerNorm(config.text.width, eps=config.text.eps)

    def tokens(self, ids: Tensor, state: ForwardState) -> Tensor:
        """ids [B, W] -> [B, W, D], what block 0 reads; more tokens than positions is a PetvrError."""
        x = state.at("embedded", self.embeddings.token_embedding(ids))
        positions = self.embeddings.position_embedding.weight
        if x.shape[1] > positions.shape[0]:
            raise PetvrError(f"text of {x.shape[1]} tokens with prompts: this CLIP has {positions.shape[0]} positions")
        return state.at("tokens_in", add_positions(x, positions[: x.shape[1]]))


class Clip(nn.Module):
    """Both towers, their projections and the logit scale. `config` holds the geometry.

    `skip_masked`: frames whose mask is False are not computed (unless a method reads across frames). `crop_texts`: on
    the CPU columns behind every text's EOT are not computed.
    """

    def __init__(self, config: ClipConfig):
        super().__init__()
        self.config = config
        self.skip_masked = True
        self.crop_texts = True
        self.text_model = TextTower(config)
        self.vision_model = VisionTower(config)
        self.visual_projection = nn.Linear(config.vision.width, config.embed, bias=False)
        self.text_projection = nn.Linear(config.text.width, config.embed, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(config.logit_scale))

    @property
    def fixed_shapes(self) -> bool:
        """Whether everything is computed in full, so that shapes stay: of compiled towers, in training."""
        return self.training and self.vision_model.encoder.compiled is not None

    def skips_masked(self, inserts: Inserts) -> bool:
        return self.skip_masked and not inserts.temporal and not self.fixed_shapes

    @property
    def embed_dim(self) -> int:
        return self.config.embed

    @property
    def image_size(self) -> int:
        return self.config.image

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 RGB [..., 3, H, W] -> float with CLIP's mean and std, on the device the pixels are on."""
        mean, std = (channel_constants(part, pixels.device) for part in (self.config.mean, self.config.std))
        return torch.sub(pixels.float(), mean).div_(std)

    def encode_frames(
        self,
        pixels: Tensor,
        mask: Tensor | None = None,
        inserts: Inserts | None = None,
        texts: Tensor | None = None,
        start_block: int | None = None,
    ) -> Tensor:
        """pixels [B, F, 3, H, W] (normalised float, or uint8), mask [B, F] -> [B, F, E], not normalised; masked: 0.

        A mask that lies on the CPU is read without a wait for the device of the pixels.
        texts [C, E]: features of candidate sentences, for methods that look at them while they read a video.
        start_block: `pixels` is what `encode_prefix` gave for so many blocks; the tower goes on from there.
        """
        return self._features(*self._vision_stream(pixels, mask, inserts, texts, start_block))

    def encode_prefix(self, pixels: Tensor, mask: Tensor | None, blocks: int) -> Tensor:
        """pixels, mask as in encode_frames -> the stream after that many blocks, [B, F, 1 + P, D]; masked frames 0."""
        x, state, chosen = self._vision_stream(pixels, mask, None, None, stop=blocks)
        return self._by_frame(x, state, chosen)

    def encode_patches(
        self,
        pixels: Tensor,
        mask: Tensor | None = None,
        inserts: Inserts | None = None,
        texts: Tensor | None = None,
        start_block: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As encode_frames -> [B, F, E], and every patch after the last LayerNorm and the projection, without prompts,
        [B, F, P, E]."""
        x, state, chosen = self._vision_stream(pixels, mask, inserts, texts, start_block)
        patches = x[:, state.num_leading_tokens :]
        if state.joined:
            patches = patches.unflatten(1, (state.frames, -1)).flatten(0, 1)
        patches = self.visual_projection(self.vision_model.post_layernorm(patches))
        return self._features(x, state, chosen), self._by_frame(patches, state, chosen)

    def _vision_stream(
        self,
        pixels: Tensor,
        mask: Tensor | None,
        inserts: Inserts | None,
        texts: Tensor | None,
        start_block: int | None = None,
        stop: int | None = None,
    ) -> tuple[Tensor, ForwardState, Tensor | None]:
        """The vision tower's last stream, and which of all B F frames its rows are (None: all)."""
        inserts = Inserts(self.config) if inserts is None else inserts
        videos, frames = pixels.shape[:2]
        if start_block is None and pixels.shape[2:] != (3, self.config.image, self.config.image):
            size = self.config.image
            raise PetvrError(f"frames of shape {tuple(pixels.shape[2:])}: this CLIP reads (3, {size}, {size})")
        state = ForwardState("vision", inserts, videos=videos, frames=frames, texts=texts)
        rows, chosen = pixels.flatten(0, 1), None
        state.frame = torch.arange(frames, device=pixels.device).repeat(videos)
        if mask is not None and not mask.all():  # without a mask the faster kernels of attention can be taken
            state.lengths = mask.sum(dim=1)
            state.mask = mask.to(pixels.device, torch.bool, non_blocking=True)
            if self.skips_masked(inserts):
                chosen = mask.flatten().nonzero()[:, 0].to(pixels.device, non_blocking=True)
                rows, state.frame = rows[chosen], state.frame[chosen]
        if start_block is None:
            rows = self.vision_model.tokens(rows if rows.is_floating_point() else self.normalise(rows), state)
        return self.vision_model.encoder(rows, state, start_block or 0, stop), state, chosen

    def _features(self, x: Tensor, state: ForwardState, chosen: Tensor | None) -> Tensor:
        out = state.at("projected", self.visual_projection(self.vision_model.pooled(x, state)))
        return self._by_frame(out, state, chosen)

    def _by_frame(self, out: Tensor, state: ForwardState, chosen: Tensor | None) -> Tensor:
        """Rows [R, ...] -> [B, F, ...], masked frames 0."""
        if chosen is not None:
            full = out.new_zeros(state.videos * state.frames, *out.shape[1:])
            return full.index_copy(0, chosen, out).unflatten(0, (state.videos, state.frames))
        out = out.unflatten(0, (state.videos, state.frames))
        return out if state.mask is None else out.masked_fill(~state.mask[(...,) + (None,) * (out.dim() - 2)], 0)

    def encode_texts(self, ids: Tensor, inserts: Inserts | None = None) -> Tensor:
        """ids [B, W] -> [B, E], read at each text's first EOT, not normalised. What follows EOT changes nothing.

        Columns behind every text's EOT are left out, where finding them costs no wait for a device.
        """
        if self.crop_texts and not self.fixed_shapes and ids.device.type == "cpu" and len(ids):
            ids = crop(ids, self.config.eot)
        return self._sentence(*self._text_stream(ids, inserts))

    def encode_words(self, ids: Tensor, inserts: Inserts | None = None) -> Tensor:
        """ids [B, W] -> every token after the last LayerNorm and the projection, without prompts, [B, W, E]."""
        return self._all_words(*self._text_stream(ids, inserts))

    def encode_all_words(self, ids: Tensor, inserts: Inserts | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """ids [B, W] -> what encode_texts [B, E] and encode_words [B, W, E] give, in one pass, and which words are
        SOT, text or EOT, not padding [B, W]."""
        x, state = self._text_stream(ids, inserts)
        words = self._all_words(x, state)
        eot = state.eot - (state.num_leading_tokens - 1)
        return self._sentence(x, state), words, torch.arange(words.shape[1], device=x.device) <= eot[:, None]

    def _sentence(self, x: Tensor, state: ForwardState) -> Tensor:
        last = x[torch.arange(x.shape[0], device=x.device), state.eot]
        pooled = state.at("pooled", self.text_model.final_layer_norm(last))
        return state.at("projected", self.text_projection(pooled))

    def _all_words(self, x: Tensor, state: ForwardState) -> Tensor:
        x = torch.cat([x[:, :1], x[:, state.num_leading_tokens :]], dim=1) if state.prompts else x
        return self.text_projection(state.at("words", self.text_model.final_layer_norm(x)))

    def _text_stream(self, ids: Tensor, inserts: Inserts | None) -> tuple[Tensor, ForwardState]:
        state = ForwardState("text", Inserts(self.config) if inserts is None else inserts)
        ids = state.at("ids", ids)
        state.eot = first_eot(ids, self.config.eot)
        x = self.text_model.tokens(ids, state)
        return self.text_model.encoder(x, state), state


def first_eot(ids: Tensor, eot: int) -> Tensor:
    """ids [B, W] -> [B], the first position of `eot` (0 in a row that has none)."""
    return (ids == eot).int().argmax(dim=-1)


def crop(ids: Tensor, eot: int) -> Tensor:
    """ids [B, W] without the columns that lie behind every text's EOT: cheaper, and the same features."""
    return ids[:, : int(first_eot(ids, eot).max()) + 1]
