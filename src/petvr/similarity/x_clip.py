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
from petvr.similarity._head import Features, Similarity, attended, mean_of, unit
from petvr.similarity.seq_transf import Sequence

VERSION = 1
DEFAULTS = {"layers": 4, "tau": 0.01}


class XClip(Similarity):
    NEEDS = ("words",)

    def __init__(self, made, setting):
        super().__init__()
        self.tau = setting.tau
        self.sequence = Sequence(made, setting.layers, made.frames)
        self.coarse, self.fine = (nn.Parameter(torch.eye(made.embed)) for _ in range(2))
        self.words_of_video, self.words_first, self.words_last = (nn.Parameter(torch.eye(made.words)) for _ in "123")
        self.frames_of_text, self.frames_first, self.frames_last = (nn.Parameter(torch.eye(made.frames)) for _ in "123")

    def text_side(self, features: Features) -> Features:
        words, limit = unit(features["words"]), len(self.words_first)
        if words.shape[1] > limit:
            raise PetvrError(f"similarity 'x_clip': texts of {words.shape[1]} words, built for {limit}")
        text = unit(features["text"])
        return {"text": text, "coarse": text @ self.coarse, "words": words, "mask": features["word_mask"]}

    def video_side(self, features: Features) -> Features:
        frames, mask = features["frames"], features["mask"]
        if frames.shape[1] > len(self.frames_first):
            limit = len(self.frames_first)
            raise PetvrError(f"similarity 'x_clip': videos of {frames.shape[1]} frames, built for {limit}")
        video = mean_of(self.sequence(frames, mask), mask)
        frames = unit(frames)
        return {"video": video, "frames": frames, "fine": frames @ self.fine.T, "mask": mask}  # L on the smaller side

    def pair_cost(self, texts: Features, videos: Features) -> int:
        return 8 * texts["words"].shape[1] * videos["frames"].shape[1]

    def pairs(self, texts: Features, videos: Features) -> Tensor:
        video, frames = videos["video"], videos["frames"]
        words, frame_mask = texts["mask"][:, None], videos["mask"][None]  # [n, 1, W], [1, m, F]
        together = texts["coarse"] @ video.T
        by_word = (texts["words"] @ video.T).transpose(1, 2)  # [n, m, W]
        by_frame = torch.tensordot(texts["text"], frames, dims=([1], [2]))  # [n, m, F]
        fine = torch.tensordot(texts["words"], videos["fine"], dims=([2], [2])).transpose(1, 2)  # [n, m, W, F]
        over_words = self.over(fine.transpose(2, 3), self.words_first, words[:, :, None])  # [n, m, F]
        over_frames = self.over(fine, self.frames_first, frame_mask[:, :, None])  # [n, m, W]
        pair = self.over(over_words, self.frames_last, frame_mask) + self.over(over_frames, self.words_last, words)
        coarse_fine = self.over(by_word, self.words_of_video, words) + self.over(
            by_frame, self.frames_of_text, frame_mask
        )
        return (together + coarse_fine + pair / 2) / 4

    def over(self, x: Tensor, matrix: Tensor, mask: Tensor) -> Tensor:
        """AOSM over the last dimension; hidden places are 0 in x already."""
        size = x.shape[-1]
        return (x * (attended(x / self.tau, mask) @ matrix[:size, :size])).sum(dim=-1)


def build(setting, made):
    if setting.layers < 1 or setting.tau <= 0:
        raise PetvrError(
            f"similarity 'x_clip': layers={setting.layers}, tau={setting.tau:g} given, allowed: layers >= 1, tau > 0"
        )
    return XClip(made, setting)
