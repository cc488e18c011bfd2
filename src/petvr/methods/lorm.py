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

Guesses: equation 3 speaks of the sentence feature, but only vectors at all text sites give the printed sizes, so all
tokens are modulated. Start values: as SSF's, c ~ N(1, 0.02) and s ~ N(0, 0.02), by a first column of ones in c_a and
s_a; what is left of the factors is N(0, 0.02), text_rank's second factor zero.
"""

import torch
from torch import nn

from petvr.errors import PetvrError
from petvr.methods._adapted import Declaration
from petvr.methods._modulation import STD, Vectors, insert, modulate, sites

VERSION = 1
DEFAULTS = {"r": 3, "axes": "time", "factorised": True, "text_rank": 0, "last": 0}
CHOICES = {"axes": ["time", "space_time", "space_time_layer"]}
IDENTITY = "none"


class Frames(nn.Module):
    """c_v or s_v of all vision sites; `middle` is 1 for scales and 0 for shifts."""

    def __init__(self, found, config, setting, frames, middle, generator):
        super().__init__()
        self.frames, self.rank, self.generator = frames, setting.r, generator
        width, shared = config.vision.width, setting.axes == "space_time_layer"
        self.rows, self.columns = nn.ParameterDict(), nn.ParameterDict()
        self.tokens = {"all": 1 + config.patches, "patches": config.patches, "one": 1}
        if shared:
            self.columns["shared"] = self._columns(width, middle)
        for site in found:
            if not setting.factorised:
                self.rows[site.name] = self._normal(frames, 1, site.width, mean=middle)
                continue
            tokens = 1 if setting.axes == "time" else self.tokens[site.tokens]
            modules = (site.width // width,) if shared else ()
            self.rows[site.name] = self._normal(*modules, frames, tokens, self.rank)
            with torch.no_grad():
                self.rows[site.name][..., 0] = 1
            if not shared:
                self.columns[site.name] = self._columns(site.width, middle)

    def _normal(self, *shape, mean=0.0):
        return nn.Parameter(torch.empty(*shape).normal_(mean, STD, generator=self.generator))

    def _columns(self, width, middle):
        columns = self._normal(self.rank, width)
        with torch.no_grad():
            columns[0] += middle
        return columns

    def at(self, site):
        """[T, 1 or tokens, width]; without tokens, [T, width], where CLS stands alone."""
        rows = self.rows[site.name]
        shared = "shared" in self.columns
        if shared or site.name in self.columns:
            rows = rows @ self.columns["shared" if shared else site.name]
        if shared:
            rows = rows.movedim(0, 2).flatten(2)
        return rows[:, 0] if site.tokens == "one" else rows


class Words(nn.Module):
    """What depends on the word in c_t and s_t: [W, R_t] [R_t, width] per site and sum."""

    def __init__(self, found, words, rank, generator):
        super().__init__()
        self.rows, self.columns = nn.ParameterDict(), nn.ParameterDict()
        for site in found:
            for name in ("scale", "shift"):
                rows = torch.empty(words, rank).normal_(std=STD, generator=generator)
                self.rows[f"{name}_{site.name}"] = nn.Parameter(rows)
                self.columns[f"{name}_{site.name}"] = nn.Parameter(torch.zeros(rank, site.width))

    def at(self, name, site, length):
        """[length, width]; what lies behind the last word the run knows (padding) takes that word's row."""
        rows = self.rows[f"{name}_{site.name}"]
        place = torch.arange(length, device=rows.device).clamp(max=len(rows) - 1)
        return (rows @ self.columns[f"{name}_{site.name}"])[place]


class Lorm(nn.Module):
    def __init__(self, clip, setting, made):
        super().__init__()
        self.sites = {tower: sites(clip.config, tower, setting.last) for tower in ("vision", "text")}
        self.frames = made.frames
        given = (self.sites["vision"], clip.config, setting, made.frames)
        self.scale, self.shift = Frames(*given, 1.0, made.generator), Frames(*given, 0.0, made.generator)
        self.text = Vectors(self.sites["text"], made.generator)
        self.words = None
        if setting.text_rank:
            found = [site for site in self.sites["text"] if site.tokens == "all"]
            self.words = Words(found, made.words, setting.text_rank, made.generator)

    def vision_at(self, site):
        def act(x, context):
            state = context.state
            first = x[0] if isinstance(x, tuple) else x
            if state.joined or state.frames > self.frames:
                how = "frames joined into one sequence" if state.joined else f"{state.frames} frames"
                raise PetvrError(f"method 'lorm': {how}; it modulates single frames, up to {self.frames} of them")
            with torch.autocast(first.device.type, enabled=False):
                scale, shift = self.scale.at(site), self.shift.at(site)
                if scale.dim() == 3 and scale.shape[1] not in (1, first.shape[1]):
                    told = f"{first.shape[1]} tokens a frame; with space in its axes it is made for {scale.shape[1]}"
                    raise PetvrError(f"method 'lorm': {told}")
                if len(first) != state.videos * state.frames:  # masked frames were left out
                    return modulate(x, scale[state.frame], shift[state.frame])
                split = lambda part: part.unflatten(0, (state.videos, state.frames))  # noqa: E731
                x = tuple(map(split, x)) if isinstance(x, tuple) else split(x)
                x = modulate(x, scale[: state.frames], shift[: state.frames])
                return tuple(part.flatten(0, 1) for part in x) if isinstance(x, tuple) else x.flatten(0, 1)

        return act

    def text_at(self, site):
        if self.words is None or site.tokens == "one":
            return self.text.at(site)

        def act(x, context):
            first = x[0] if isinstance(x, tuple) else x
            with torch.autocast(first.device.type, enabled=False):
                scale = self.text.scale[site.name] + self.words.at("scale", site, first.shape[1])
                shift = self.text.shift[site.name] + self.words.at("shift", site, first.shape[1])
                return modulate(x, scale, shift)

        return act


def build(clip, setting, made):
    layers = min(clip.config.vision.layers, clip.config.text.layers)
    if setting.r < 1 or setting.last > layers or not (setting.factorised or setting.axes == "time"):
        given = f"r={setting.r}, last={setting.last}, axes={setting.axes}, factorised={setting.factorised}"
        allowed = f"r >= 1, last <= {layers}, factorised=false with axes=time alone"
        raise PetvrError(f"method 'lorm': {given.lower()} given, allowed: {allowed}")
    if setting.axes == "space_time_layer" and clip.config.vision.mlp % clip.config.vision.width:
        raise PetvrError("method 'lorm': axes=space_time_layer needs an MLP that is a multiple of D wide")
    module = Lorm(clip, setting, made)
    acts = [
        insert(tower, site, module.vision_at(site) if tower == "vision" else module.text_at(site))
        for tower, found in module.sites.items()
        for site in found
    ]
    return Declaration(module=module, insert=acts)
