"""LoRM, RAP's low-rank modulation [Cao et al. 2024, section 3.2]: SSF whose vision vectors depend on the frame.

    u = c_v * x + s_v,   c_v = c_a c_b,   s_v = s_a s_b        c_a, s_a [T, R],  c_b, s_b [R, D]      (equations 1, 2)
    z = c_t * w + s_t                                          c_t, s_t [1, D_t]                      (equation 3)

T the frames of a video, R = 3; the same row t acts on all tokens of frame t. Everything else of CLIP is frozen, the
logit scale too. The sites are those of SSF (petvr.methods._modulation): without LoRM and ASA the paper's table 4
shows its SSF row, and with SSF's sites in both towers the counts are the printed 0.34, 0.76 and 1.48 million.

axes (table 5): `time` as above. `space_time`: rows for every token of every frame, c_a [T, 1 + P, R] (guess: CLS has
its row too). `space_time_layer`: one c_b [R, D] for all M modules, c_a [M, T, 1 + P, R]; q, k, v count as three
modules and the MLP's first layer as D_mlp / D of them, since c_b is D wide (guess; the printed shape lacks T and N).
factorised=false: the full T x D of the paper's figures 1 and 4. text_rank (table 11): a term [W, R_t] [R_t, D_t] is
added to c_t and s_t at every text site with words; the printed size, read as 1.48 M, needs it added, not instead.
last=n: only the last n blocks of both towers and what follows them (RAP_light of table 3: 4).

All tokens of a text are modulated; text_tokens=eot: only EOT, from which the sentence is read, at every site, which has
the same size and is the paper's "not at the word level". Words for a similarity that reads them (X-CLIP's) leave the
tower before the last site, which the sentence alone passes; word_states=modulated takes them through it too.

Start values: as SSF's, c ~ N(1, 0.02) and s ~ N(0, 0.02), by a first column of ones in c_a and s_a; what is left of the
factors is N(0, 0.02), text_rank's second factor zero.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from petvr.errors import PetvrError
from petvr.methods._declare import BuildContext, Declaration, DeclaredSettings, Hook, HookContext, Insert, setting
from petvr.methods._modulation import STD, Site, Vectors, modulate, sites_of

VERSION = 4
IDENTITY = "none"
SEES_ORDER = "a frame's scales and shifts are those of its place; frames do not read one another"
OPEN = (
    "Which text features are modulated: equation 3 speaks of the sentence feature, but only vectors at all text "
    "sites give the printed sizes, so all tokens are.",
    "The sites: those of SSF meet every printed size together.",
    "The start: here as SSF's, by a first column of ones in c_a and s_a; what is left of the factors is N(0, 0.02),"
    " text_rank's second factor zero.",
    "space_time, space_time_layer: whether CLS has its row (here it has), and how M counts; the printed shape lacks"
    " T and N.",
    "DiDeMo takes 64 frames, but CLIP4Clip's 31-second rule leaves 32 at most: half of the time rows never see a "
    "frame.",
)
RULES = (
    (
        "word_states text_tokens",
        "word_states == 'plain' or text_tokens == 'all'",
        "word_states=modulated with text_tokens=all alone",
    ),
    ("axes factorised", "factorised or axes == 'time'", "factorised=false with axes=time alone"),
    (
        "axes",
        "axes != 'space_time_layer' or not mlp_remainder",
        "an MLP that is a multiple of D wide, or another value",
    ),
)
NOT_WITH = {"vop_f": "it joins the frames of a video into one sequence, LoRM modulates single frames"}


class LormSettings(DeclaredSettings):
    r: int = setting(3, "paper", "RAP section 4.1, R = K = 3", at_least=1)
    axes: str = setting("time", "paper", "RAP section 3.2, table 5", choices=("time", "space_time", "space_time_layer"))
    factorised: bool = setting(True, "paper", "RAP section 3.2, equations 1 and 2")
    text_rank: int = setting(0, "paper", "RAP section 3.2, table 11")
    text_tokens: str = setting("all", "guess", "the text speaks of the sentence alone", choices=("all", "eot"))
    word_states: str = setting(
        "plain", "guess", "equation 3 has the sentence; X-CLIP's words are not said", choices=("plain", "modulated")
    )
    last: int = setting(0, "paper", "RAP section 4.2: all blocks but in RAP_light", at_most="layers")


class FrameVectors(nn.Module):
    """c_v or s_v of all vision sites; `middle` is 1 for scales and 0 for shifts."""

    def __init__(self, sites: list[Site], settings: LormSettings, build: BuildContext, middle: float):
        super().__init__()
        config = build.config
        self.frames, self.rank, self.generator = build.frames, settings.r, build.generator
        width, shared = config.vision.width, settings.axes == "space_time_layer"
        self.rows, self.columns = nn.ParameterDict(), nn.ParameterDict()
        self.tokens = {"all": 1 + config.patches, "patches": config.patches, "one": 1}
        if shared:
            self.columns["shared"] = self._columns(width, middle)
        for site in sites:
            if not settings.factorised:
                self.rows[site.name] = self._normal(self.frames, 1, site.width, mean=middle)
                continue
            tokens = 1 if settings.axes == "time" else self.tokens[site.tokens]
            modules = (site.width // width,) if shared else ()
            self.rows[site.name] = self._normal(*modules, self.frames, tokens, self.rank)
            with torch.no_grad():
                self.rows[site.name][..., 0] = 1
            if not shared:
                self.columns[site.name] = self._columns(site.width, middle)

    def _normal(self, *shape: int, mean: float = 0.0) -> nn.Parameter:
        return nn.Parameter(torch.empty(*shape).normal_(mean, STD, generator=self.generator))

    def _columns(self, width: int, middle: float) -> nn.Parameter:
        columns = self._normal(self.rank, width)
        with torch.no_grad():
            columns[0] += middle
        return columns

    def at(self, site: Site) -> Tensor:
        """[T, 1 or tokens, width]; without tokens, [T, width], where CLS stands alone."""
        rows = self.rows[site.name]
        shared = "shared" in self.columns
        if shared or site.name in self.columns:
            rows = rows @ self.columns["shared" if shared else site.name]
        if shared:
            rows = rows.movedim(0, 2).flatten(2)
        return rows[:, 0] if site.tokens == "one" else rows


class WordVectors(nn.Module):
    """What depends on the word in c_t and s_t: [W, R_t] [R_t, width] per site and sum."""

    def __init__(self, sites: list[Site], words: int, rank: int, generator: torch.Generator):
        super().__init__()
        self.rows, self.columns = nn.ParameterDict(), nn.ParameterDict()
        for site in sites:
            for name in ("scale", "shift"):
                rows = torch.empty(words, rank).normal_(std=STD, generator=generator)
                self.rows[f"{name}_{site.name}"] = nn.Parameter(rows)
                self.columns[f"{name}_{site.name}"] = nn.Parameter(torch.zeros(rank, site.width))

    def at(self, name: str, site: Site, length: int) -> Tensor:
        """[length, width]; what lies behind the last word the run knows (padding) takes that word's row."""
        rows = self.rows[f"{name}_{site.name}"]
        word = torch.arange(length, device=rows.device).clamp(max=len(rows) - 1)
        return (rows @ self.columns[f"{name}_{site.name}"])[word]


class Lorm(nn.Module):
    def __init__(self, settings: LormSettings, build: BuildContext):
        super().__init__()
        self.sites = {tower: sites_of(build.config, tower, settings.last) for tower in build.config.towers}
        self.frames = build.frames
        self.scale, self.shift = (FrameVectors(self.sites["vision"], settings, build, middle) for middle in (1.0, 0.0))
        self.text = Vectors(self.sites["text"], build.generator)
        self.words, self.eot_alone = None, settings.text_tokens == "eot"
        if settings.text_rank:
            sites = [site for site in self.sites["text"] if site.tokens == "all"]
            self.words = WordVectors(sites, build.words, settings.text_rank, build.generator)

    def at(self, tower: str, site: Site) -> Hook:
        """The function that acts at `site`."""
        if tower == "vision":
            return self.vision_at(site)
        act = self.text.at(site) if self.words is None or site.tokens == "one" else self.words_at(site)
        return at_eot(act) if self.eot_alone and site.tokens == "all" else act

    def vision_at(self, site: Site) -> Hook:
        def act(x: Tensor | tuple, context: HookContext) -> Tensor | tuple:
            state = context.state
            first = x[0] if isinstance(x, tuple) else x
            if state.joined or state.frames > self.frames:
                how = "frames joined into one sequence" if state.joined else f"{state.frames} frames"
                raise PetvrError(f"method 'lorm': {how}; it modulates single frames, up to {self.frames} of them")
            with torch.autocast(first.device.type, enabled=False):
                scale, shift = self.scale.at(site), self.shift.at(site)
                if scale.dim() == 3 and scale.shape[1] not in (1, first.shape[1]):
                    how = f"{first.shape[1]} tokens a frame; with space in its axes it is made for {scale.shape[1]}"
                    raise PetvrError(f"method 'lorm': {how}")
                if len(first) != state.videos * state.frames:  # masked frames were left out
                    return modulate(x, scale[state.frame], shift[state.frame], context)
                split = lambda part: part.unflatten(0, (state.videos, state.frames))  # noqa: E731
                x = tuple(map(split, x)) if isinstance(x, tuple) else split(x)
                x = modulate(x, scale[: state.frames], shift[: state.frames], context)
                return tuple(part.flatten(0, 1) for part in x) if isinstance(x, tuple) else x.flatten(0, 1)

        return act

    def words_at(self, site: Site) -> Hook:
        def act(x: Tensor | tuple, context: HookContext) -> Tensor | tuple:
            first = x[0] if isinstance(x, tuple) else x
            with torch.autocast(first.device.type, enabled=False):
                scale = self.text.scale[site.name] + self.words.at("scale", site, first.shape[1])
                shift = self.text.shift[site.name] + self.words.at("shift", site, first.shape[1])
                return modulate(x, scale, shift, context)

        return act


def at_eot(act: Hook) -> Hook:
    """`act` on each text's EOT; the other tokens pass as they are."""

    def act_at_eot(x: Tensor | tuple, context: HookContext) -> Tensor | tuple:
        first = x[0] if isinstance(x, tuple) else x
        eot = context.state.eot
        assert eot is not None  # every text has one
        is_eot = (torch.arange(first.shape[1], device=first.device) == eot[:, None])[..., None]
        new = act(x, replace(context, activation=None))
        if isinstance(x, tuple):
            return tuple(torch.where(is_eot, one, old) for one, old in zip(new, x, strict=True))
        return torch.where(is_eot, new, x)

    return act_at_eot


def declare(settings: LormSettings, build: BuildContext) -> Declaration:
    module = Lorm(settings, build)
    insert = [site.insert(tower, module.at(tower, site)) for tower, sites in module.sites.items() for site in sites]
    if settings.word_states == "modulated":
        insert.append(Insert("text", "words", module.text.at(module.sites["text"][-1])))
    return Declaration(module=module, insert=insert)
