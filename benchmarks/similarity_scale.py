"""Time per million pairs and peak memory of every similarity with random features, in the shapes of whole test sets.

    python benchmarks/similarity_scale.py                             a part of each set, seconds a line
    python benchmarks/similarity_scale.py --set activitynet --name x_clip --whole

Sets: activitynet 4,917 texts x 4,917 videos of 64 frames (64 words), msvd 27,763 x 670 of 12 (32 words). Features lie
in memory as in an evaluation: both sides computed in parts, then all pairs in blocks. Every line is a process of its
own. `--whole` also ranks both directions; without it videos and features are all there, and the first texts are scored.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
import torch

from petvr import similarity
from petvr.clip import config, weights
from petvr.retrieval import ranking

SETS = {"activitynet": (4917, 4917, 64, 64), "msvd": (27763, 670, 12, 32)}  # texts, videos, frames, words
EMBED, PATCHES, PART = 512, 49, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=SETS)
    parser.add_argument("--name", choices=similarity.NAMES())
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--seconds", type=float, default=10.0, help="of scoring, without --whole")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.set and given.name:
        measure(given.set, given.name, given.whole, given.seconds, given.threads)
        return
    for which in [given.set] if given.set else SETS:
        for name in [given.name] if given.name else similarity.NAMES():
            own = [sys.executable, __file__, "--set", which, "--name", name, "--seconds", str(given.seconds)]
            own += ["--whole"] * given.whole + (["--threads", str(given.threads)] if given.threads else [])
            subprocess.run(own, check=True)


@torch.inference_mode()
def measure(which: str, name: str, whole: bool, seconds: float, threads: int | None) -> None:
    if threads:
        torch.set_num_threads(threads)
    texts, videos, frames, words = SETS[which]
    generator = torch.Generator().manual_seed(0)
    clip = weights.random(config.with_layers(config.geometry("vit-b-32"), 4), 0)
    score = similarity.build(name, {}, EMBED, generator, clip=clip, frames=frames, words=words).eval()
    del clip
    start = time.perf_counter()
    left = sides(score.texts, texts, lambda n: text_features(n, words, score.NEEDS, generator))
    right = sides(score.videos, videos, lambda n: video_features(n, frames, score.NEEDS, generator))
    prepared = time.perf_counter() - start
    rows = max(1, 2**31 // (videos * score.pair_cost(left, right)))
    start, done = time.perf_counter(), 0
    found = torch.empty(texts, videos) if whole else None
    for first in range(0, texts, rows):
        part = {key: value[first : first + rows] for key, value in left.items()}
        out = score.score(part, right)
        if found is not None:
            found[first : first + rows] = out
        done += out.numel()
        if not whole and time.perf_counter() - start > seconds:
            break
    spent = time.perf_counter() - start
    line = f"{which:11} {name:11} both sides {prepared:6.1f} s, {1e6 * spent / done:8.3f} s per million pairs"
    if found is not None:
        start = time.perf_counter()
        ranking.evaluate(found, np.arange(texts) % videos)
        line += f" ({done / 1e6:.1f} million), ranked in {time.perf_counter() - start:.1f} s"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{line}, peak {peak:.2f} GiB, {torch.get_num_threads()} threads", flush=True)


def sides(side, count: int, features) -> dict[str, torch.Tensor]:
    """All rows of one side, written where they stay."""
    found: dict[str, torch.Tensor] = {}
    for first in range(0, count, PART):
        for key, value in side(features(min(PART, count - first))).items():
            if key not in found:
                found[key] = value.new_empty((count, *value.shape[1:]))
            found[key][first : first + PART] = value
    return found


def text_features(count: int, words: int, needs: tuple[str, ...], generator: torch.Generator) -> dict:
    found = {"text": torch.randn(count, EMBED, generator=generator)}
    if "words" in needs:
        lengths = torch.randint(5, words + 1, (count, 1), generator=generator)
        found["words"] = torch.randn(count, words, EMBED, generator=generator)
        found["word_mask"] = torch.arange(words) < lengths
    return found


def video_features(count: int, frames: int, needs: tuple[str, ...], generator: torch.Generator) -> dict:
    lengths = torch.randint(1, frames + 1, (count, 1), generator=generator)
    found = {"frames": torch.randn(count, frames, EMBED, generator=generator), "mask": torch.arange(frames) < lengths}
    if "patches" in needs:
        found["patches"] = torch.randn(count, frames, PATCHES, EMBED, generator=generator)
    return found


if __name__ == "__main__":
    main()
