"""Official split sizes and counted FLOPs, as far as a budget needs them."""

from __future__ import annotations

from dataclasses import dataclass

GB = 1e9
FRAME_BYTES = 3 * 224 * 224

# Forward FLOPs (multiply-add = 2) of one 224-pixel frame, counted on the towers.
FRAME_FLOPS = {"vit-b-32": 8.82e9, "vit-b-16": 35.13e9, "vit-l-14": 162.0e9}
# Of a text of 32, 64, 77 tokens in the 512-wide text tower; in between linear. ViT-L/14's is 768 wide.
TEXT_FLOPS = ((32, 2.44e9), (64, 4.93e9), (77, 5.96e9))
TEXT_WIDER = {"vit-l-14": (768 / 512) ** 2}
CLIP_PARAMETERS = {"vit-b-32": 151_277_313, "vit-b-16": 149_620_737, "vit-l-14": 427_616_513}


@dataclass(frozen=True)
class Split:
    """Official sizes: (video, caption) pairs of one epoch, videos, test captions, all clips on disk."""

    folder: str
    pairs: int
    train_videos: int
    test_videos: int
    test_captions: int
    clips: int
    source_gb: float  # the videos as downloaded, an estimate


SPLITS = {
    "msrvtt-9k": Split("msrvtt", 180_000, 9_000, 1_000, 1_000, 10_000, 6.7),
    "msrvtt-7k": Split("msrvtt", 140_200, 7_010, 1_000, 1_000, 10_000, 6.7),
    "msvd": Split("msvd", 48_774, 1_200, 670, 27_763, 1_970, 1.7),
    "lsmdc": Split("lsmdc", 101_079, 101_046, 1_000, 1_000, 109_487, 1_141),
    "didemo": Split("didemo", 8_392, 8_392, 1_004, 1_004, 10_464, 59),
    "activitynet": Split("activitynet", 10_009, 10_009, 4_917, 4_917, 14_926, 400),
    "vatex": Split("vatex", 259_910, 25_991, 1_500, 15_000, 28_991, 100),
}


def flops_per_pair(backbone: str, frames: int, words: int) -> float:
    """Forward FLOPs of one video and one text, multiply-add = 2; 0 for a backbone without figures."""
    if backbone not in FRAME_FLOPS:
        return 0.0
    return frames * FRAME_FLOPS[backbone] + text_flops(backbone, words)


def text_flops(backbone: str, words: int) -> float:
    (low, low_flops), *_, (high, high_flops) = TEXT_FLOPS
    line = low_flops + (words - low) * (high_flops - low_flops) / (high - low)
    return max(line, 0.0) * TEXT_WIDER.get(backbone, 1.0)
