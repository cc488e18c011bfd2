"""X-CLIP [Ma et al. 2022, sections 3.3 to 3.5, equations 4-14]: four comparisons between coarse and fine features.

Coarse: sentence s (EOT) and video v = seqTransf's pooled frames. Fine: words w_1..w_W (all text positions, projected)
and CLIP's own frames f_1..f_F. All are normalised, and

    video-sentence  s G v
    video-word      AOSM_w( w_i . v )            sentence-frame  AOSM_f( s . f_j )
    frame-word      ( AOSM_f(AOSM_w(A)) + AOSM_w(AOSM_f(A)) ) / 2   with A = w L f
    AOSM(x) = sum_i x_i ( softmax(x / 0.01) M )_i                   "attention over similarity matrix"

The score is the mean of the four. G, L [E, E], three M [W, W] and three M [F, F], one for each AOSM, start as the
identity. 13,176,752 numbers with E = 512, W = 32, F = 12, of which 12,648,960 are seqTransf's.

Padded words and frames take no part. The released code lets them in here (not in v): that differs only where there
is padding, and depends there on what the padding holds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from petvr.errors import PetvrError
from petvr.registry import DeclaredSettings, setting
from petvr.similarity._head import Features, HeadContext, Similarity, all_shown, mean_of, unit
from petvr.similarity.seq_transf import FrameSequence

VERSION = 5
SEES_ORDER = "seqTransf's blocks over the frames with learned positions"
OPEN = (
    "Positions, words and frames: the printed size fits 64 words, 64 frames and 600 rows of positions.",
    "Padding: the released code lets padded words and frames into the fine comparisons; here they are left out.",
)


class XClipSettings(DeclaredSettings):
    layers: int = setting(4, "code", "seqTransf's", at_least=1)
    tau: float = setting(0.01, "code", "of all AOSM", above=0)


class XClip(Similarity):
    NEEDS = ("words",)
    PADDED = ("words", "frames", "fine")
    PLACES_FIRST = True
    IN_CACHE = 2
    TALL = 2

    def __init__(self, build: HeadContext, settings: XClipSettings):
        super().__init__()
        self.tau = settings.tau
        self.sequence = FrameSequence(build, settings.layers, build.frames)
        self.coarse, self.fine = (identity(build.embed) for _ in range(2))
        self.words_of_video, self.words_first, self.words_last = (identity(build.words) for _ in "123")
        self.frames_of_text, self.frames_first, self.frames_last = (identity(build.frames) for _ in "123")

    def text_side(self, features: Features) -> Features:
        words, limit = unit(features["words"]), len(self.words_first)
        if words.shape[1] > limit:
            raise PetvrError(f"similarity 'x_clip': texts of {words.shape[1]} words, built for {limit}")
        text = unit(features["text"])
        return {"text": text, "coarse": text @ self.coarse, "words": words / self.tau, "mask": features["word_mask"]}

    def video_side(self, features: Features) -> Features:
        frames, mask = features["frames"], features["mask"]
        if frames.shape[1] > len(self.frames_first):
            limit = len(self.frames_first)
            raise PetvrError(f"similarity 'x_clip': videos of {frames.shape[1]} frames, built for {limit}")
        video = mean_of(self.sequence(frames, mask), mask)
        frames = unit(frames)
        fine = torch.cat([video[:, None], frames @ self.fine.T], dim=1)  # L on the smaller side
        return {"video": video, "frames": frames, "fine": fine, "mask": mask}

    def pair_cost(self, texts: Features, videos: Features) -> int:
        return 6 * texts["words"].shape[1] * videos["frames"].shape[1]

    def pairs(self, texts: Features, videos: Features) -> Tensor:
        """The fine comparisons over tau, of which AOSM is AOSM over tau. Frames stand first and texts last in what is
        compared: over numbers that lie side by side a softmax costs torch 20 times as much on a CPU."""
        (words, n), (frames, m) = texts["mask"].shape, videos["mask"].shape
        hide_words, hide_frames = hiding(texts["mask"]), hiding(videos["mask"])
        together = videos["video"] @ texts["coarse"].T
        by_frame = (videos["frames"].flatten(0, 1) @ (texts["text"] / self.tau).T).view(frames, m, n)
        fine = videos["fine"].flatten(0, 1) @ texts["words"].flatten(0, 1).T
        by_word, fine = fine.view(frames + 1, m, words, n).split([1, frames])
        by_word = by_word[0]
        over_words = over_words_of(fine, self.words_first, hide_words)  # [F, m, n]
        over_frames = over_frames_of(fine, self.frames_first, hide_frames)  # [m, W, n]
        pair = over_frames_of(over_words, self.frames_last, hide_frames)
        pair = pair + over_words_of(over_frames, self.words_last, hide_words)
        coarse_fine = over_words_of(by_word, self.words_of_video, hide_words)
        coarse_fine = coarse_fine + over_frames_of(by_frame, self.frames_of_text, hide_frames)
        return (together + self.tau * (coarse_fine + pair / 2)).T / 4


def over_words_of(x: Tensor, matrix: Tensor, hide: Tensor | None) -> Tensor:
    """AOSM over the words of x [.., W, n] -> [.., n]; hidden places are 0 in x already."""
    size, shape, x = x.shape[-2], x.shape[:-2], x.flatten(0, -3)
    shares = (x if hide is None else x + hide).softmax(dim=1)
    mixing = matrix[:size, :size].T.expand(len(x), size, size)  # `@` with one matrix alone would copy the shares
    return (x * mixing.bmm(shares)).sum(dim=1).unflatten(0, shape)


def over_frames_of(x: Tensor, matrix: Tensor, hide: Tensor | None) -> Tensor:
    """AOSM over the frames of x [F, m, ..] -> [m, ..]."""
    size, shape = x.shape[0], x.shape[1:]
    logits = x.flatten(1) if hide is None else (x.flatten(2) + hide[..., None]).flatten(1)
    return (x.flatten(1) * (matrix[:size, :size].T @ logits.softmax(dim=0))).sum(dim=0).view(shape)


def identity(size: int) -> nn.Parameter:
    return nn.Parameter(nn.init.eye_(torch.empty(size, size)))


def hiding(mask: Tensor) -> Tensor | None:
    """What added to a softmax's logits hides: 0 where the mask is True, the lowest number elsewhere; None where all is
    shown."""
    if all_shown(mask):
        return None
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, torch.finfo(torch.float32).min)


def make_head(settings: XClipSettings, build: HeadContext) -> Similarity:
    return XClip(build, settings)
