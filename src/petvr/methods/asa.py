"""ASA, RAP's asynchronous self-attention [Cao et al. 2024, section 3.3]: K patches of a frame look elsewhere.

In every block of the vision tower, for each frame t and each of its K = 3 chosen patches n (S_t),

    k^_t^n, v^_t^n = k, v of patch n + gamma in frame t + delta        (equation 7; all other tokens keep theirs)

and all queries of the frame, CLS included, attend to k^, v^ as they would to k, v (equation 8). Frozen: CLIP.

select (table 6): text_top, text_bottom: w* is the candidate sentence nearest to the video, argmax Proj(mean_t CLS) w
(equation 5), and S_t are the patches with the largest (smallest) Proj(u_n) w* (equation 6). vision_top, vision_bottom:
likeness with the frame's own CLS instead. random: drawn anew in every training step, in evaluation fixed by block,
frame and place. none: all patches. warp (table 7): both, time (gamma = 0), space (delta = 0).

offsets: paper and figures disagree. `equation`: gamma [P] and delta [T], shared by all layers, as below equation 7: 61
numbers with ViT-B/32. `predicted` (default): the tables add 0.30 M for ASA with either backbone and the text once
"predicts" the distance; a Linear(D, 32), ReLU, Linear(32, 2) per layer on the chosen patch gives 296,088 and with it
the printed 0.64 and 1.06 M; that form is a guess, `hidden` its width.

proj: what Proj reads. `read_out` (default, a guess): the stream after CLIP's last LayerNorm, as CLIP's frozen
projection was trained to; `plain`: u itself, what the attention reads (LN1 of the stream, modulated), to the letter.
pool: the candidates. In training always the batch's sentences; in evaluation `gallery`, all sentences of the test
split (a video's feature then depends on them), or `fixed`, a sample of training sentences. RAP explains "the
video-to-text retrieval as an example"; `query` is the other direction to the letter: text to video, w* is the query, so
that all videos are encoded anew for each caption (a thousand times the work), video to text as `gallery`.

Offsets are read between grid points by linear interpolation, so that they can be learnt, and start at zero, which
changes nothing. last=n: only the last n blocks (RAP_light).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from petvr.clip.insert import ForwardState
from petvr.clip.towers import Clip
from petvr.errors import PetvrError
from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, HookContext, Insert, setting

VERSION = 3
IDENTITY = "exact"
SEES_ORDER = "patches are read from other frames, an offset away that starts at zero"
OPEN = (
    "The form of the offsets: equation 7 has 61 numbers, the tables add 0.30 M, which a Linear, ReLU, Linear per "
    "layer on the chosen patch meets.",
    "Units of the offsets (here frames, and patches in raster order, read between grid points by linear "
    "interpolation), their borders (clamped to the real frames and the patches) and their start (zero, which "
    "changes nothing).",
    "What Proj of equations 5 and 6 reads, and which candidate sentences it chooses from; here sentences are final,"
    " normalised features, the same for all layers.",
    "The class token: here it attends as the others and is never moved.",
)
NOT_WITH = {"vop_f": "it joins the frames of a video into one sequence, ASA moves between single frames"}


class AsaSettings(DeclaredSettings):
    k: int = setting(3, "paper", "RAP section 4.1, R = K = 3", at_least=1, at_most="patches")
    select: str = setting(
        "text_top",
        "paper",
        "RAP section 3.3, table 6",
        choices=("text_top", "text_bottom", "vision_top", "vision_bottom", "random", "none"),
    )
    warp: str = setting("both", "paper", "RAP section 3.3, table 7", choices=("both", "time", "space"))
    offsets: str = setting(
        "predicted", "guess", "RAP's equation 7 and its printed sizes disagree", choices=("predicted", "equation")
    )
    hidden: int = setting(32, "count", "meets RAP's printed 0.64 and 1.06 M", at_least=1)
    proj: str = setting(
        "read_out", "guess", "what Proj of RAP's equations 5 and 6 reads is not said", choices=("read_out", "plain")
    )
    pool: str = setting(
        "gallery", "guess", "RAP does not name its candidate sentences", choices=("gallery", "fixed", "query")
    )
    last: int = setting(0, "paper", "RAP section 4.2: all blocks but in RAP_light", at_most="vision_layers")


class OffsetPredictor(nn.Module):
    def __init__(self, width: int, hidden: int, out: int):
        super().__init__()
        self.down, self.up = nn.Linear(width, hidden), nn.Linear(hidden, out)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, u: Tensor) -> Tensor:
        return self.up(torch.relu(self.down(u)))


class Asa(nn.Module):
    def __init__(self, settings: AsaSettings, build: BuildContext, layers: range):
        super().__init__()
        tower, patches = build.config.vision, build.config.patches
        self.settings, self.frames, self.first = settings, build.frames, layers[0]
        self.axes = {"both": ("time", "space"), "time": ("time",), "space": ("space",)}[settings.warp]
        if settings.offsets == "predicted":
            parts = [OffsetPredictor(tower.width, settings.hidden, len(self.axes)) for _ in layers]
            self.predictors = nn.ModuleList(parts)
        else:
            sizes = {"time": build.frames, "space": patches}
            self.shared = nn.ParameterDict({axis: nn.Parameter(torch.zeros(sizes[axis])) for axis in self.axes})
        if settings.select == "random":
            generator = torch.Generator().manual_seed(len("random"))
            table = torch.empty(tower.layers, build.frames, patches).uniform_(generator=generator)
            self.register_buffer("drawn", table, persistent=False)

    def offsets(self, u: Tensor, frame: Tensor, chosen: Tensor, layer: int) -> dict[str, Tensor]:
        """u [R, K, D] and numbers of frames [R] and patches [R, K] -> axis -> offset [R, K]."""
        if self.settings.offsets == "predicted":
            return dict(zip(self.axes, self.predictors[layer - self.first](u).float().unbind(-1), strict=True))
        number = {"time": frame[:, None].expand_as(chosen), "space": chosen}
        return {axis: self.shared[axis][number[axis]] for axis in self.axes}


class PatchChoice:
    """S_t. Holds CLIP's read-out, which is not the method's own; nothing here has a gradient."""

    def __init__(self, clip: Clip, settings: AsaSettings):
        self.clip, self.settings = clip, settings

    @torch.no_grad()
    def __call__(self, context: HookContext, module: Asa) -> Tensor:
        """[R, K]: the chosen patches of every frame."""
        state, settings = context.state, self.settings
        rows, patches = len(context.input), context.input.shape[1] - state.num_leading_tokens
        if settings.select == "none":
            return torch.arange(patches, device=context.input.device).expand(rows, -1)
        if settings.select == "random":
            if module.training:
                scores = torch.rand(rows, patches, device=context.input.device)
            else:
                scores = module.drawn[context.layer, state.frame]
        else:
            plain = settings.proj == "plain"
            u = context.input if plain else self.clip.vision_model.post_layernorm(context.residual)
            with torch.autocast(u.device.type, enabled=False):  # a choice of few should not hang on bf16
                u = u.float()
                wanted = u[:, 0] if settings.select.startswith("vision") else self.sentence(u[:, 0], state)
                by_patch = u[:, state.num_leading_tokens :].transpose(1, 2)
                scores = (wanted[:, None] @ by_patch).squeeze(1)  # a third of the other order's time on a CPU
        return scores.topk(settings.k, largest=not settings.select.endswith("bottom")).indices

    def sentence(self, cls: Tensor, state: ForwardState) -> Tensor:
        """cls [R, D] -> W w* for every row, [R, D]: with it Proj(u) w* costs no projection of u."""
        if state.texts is None:
            raise PetvrError("method 'asa' chooses patches by text: encode_frames needs the candidate sentences")
        weight, texts = self.clip.visual_projection.weight.float(), nn.functional.normalize(state.texts.float(), dim=-1)
        cls = cls.unflatten(0, (state.videos, state.frames))
        if state.mask is not None:
            cls = cls.masked_fill(~state.mask[..., None], 0)
        nearest = texts[((cls.sum(1) @ weight.T) @ texts.T).argmax(dim=-1)]  # a sum: the mean has the same nearest
        return (nearest @ weight).repeat_interleave(state.frames, dim=0)


def between(position: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Grid points around `position` in 0..last, and how far it is from the lower one to the upper one."""
    position = torch.minimum(position.clamp(min=0), last)
    low = torch.minimum(position.detach().floor(), (last - 1).clamp(min=0))
    return low.long(), torch.minimum(low + 1, last).long(), position - low


def warp(x: Tensor, state: ForwardState, chosen: Tensor, offsets: dict[str, Tensor]) -> Tensor:
    """x [R, S, D] with the chosen patches [R, K] replaced by what stands `offsets` away."""
    rows, tokens, _ = x.shape
    leading, frame, one = state.num_leading_tokens, state.frame[:, None], torch.ones((), device=x.device)
    space, time, of_space, of_time = [chosen], [frame.expand_as(chosen)], [one], [one]
    if "space" in offsets:
        end = torch.full_like(offsets["space"], tokens - leading - 1)
        *space, along = between(chosen + offsets["space"], end)
        of_space = [1 - along, along]
    if "time" in offsets:
        frames = state.frames if state.mask is None else state.mask.sum(dim=1).repeat_interleave(state.frames)[:, None]
        *time, across = between(frame + offsets["time"], (offsets["time"].new_zeros(()) + frames - 1).clamp(min=0))
        of_time = [1 - across, across]
    start = torch.arange(rows, device=x.device)[:, None] - frame  # the row of the video's first frame
    places = torch.stack([(start + t) * tokens + leading + n for t in time for n in space])
    shares = torch.stack([t * n for t in of_time for n in of_space]).to(x.dtype)
    token = torch.arange(rows, device=x.device)[:, None] * tokens + leading + chosen
    return Moved.apply(x.flatten(0, 1), places.flatten(1), shares.flatten(1), token.flatten()).view_as(x)


class Moved(torch.autograd.Function):
    """x [N, D] whose rows at `token` [n] are sums of the rows at `places` [C, n], each times its share [C, n]. Its
    gradient is one tensor as large as x, where those of reading and of writing were three."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor, shares: Tensor, token: Tensor) -> Tensor:
        read = x[places]
        ctx.save_for_backward(read, places, shares, token)
        new = (read * shares[..., None]).sum(dim=0)  # of fp32 under CUDA's autocast
        return x.index_copy(0, token, new.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, None]:
        read, places, shares, token = ctx.saved_tensors
        of_new, of_x = grad[token], grad.index_fill(0, token, 0)
        of_x.index_add_(0, places.flatten(), (of_new * shares[..., None]).flatten(0, 1))
        return of_x, None, (read * of_new).sum(dim=-1), None


def declare(settings: AsaSettings, build: BuildContext) -> Declaration:
    layers = build.config.vision.layers
    acting = range(layers - settings.last if settings.last else 0, layers)
    module, choose = Asa(settings, build, acting), PatchChoice(build.clip, settings)

    def move(qkv: tuple[Tensor, ...], context: HookContext) -> tuple[Tensor, ...]:
        state = context.state
        if state.joined or state.frames > module.frames:
            how = "frames joined into one sequence" if state.joined else f"{state.frames} frames"
            raise PetvrError(f"method 'asa': {how}; it moves between single frames, up to {module.frames} of them")
        chosen = choose(context, module)
        tokens = (state.num_leading_tokens + chosen)[..., None].expand(-1, -1, context.input.shape[-1])
        offsets = module.offsets(context.input.gather(1, tokens), state.frame, chosen, context.layer)
        q, k, v = qkv
        return q, warp(k, state, chosen, offsets), warp(v, state, chosen, offsets)

    return Declaration(
        module=module,
        insert=[Insert("vision", "qkv", move, acting)],
        temporal=True,
        needs_texts=settings.pool if settings.select.startswith("text") else "",
        stochastic=settings.select == "random",
    )
