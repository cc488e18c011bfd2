"""CPU time per million pairs, next to matrix products alone, and peak memory of every similarity, on random features.

    python benchmarks/similarity_scale.py                             a part of each set, seconds a line
    python benchmarks/similarity_scale.py --set activitynet --name x_clip --whole

Sets: activitynet 4,917 texts x 4,917 videos of 64 frames (64 words), msvd 27,763 x 670 of 12 (32 words); texts and
videos have any number of words and frames up to these, or with --full all of them. Features lie in memory as in an
evaluation: both sides computed in parts, then all pairs in blocks, then both directions ranked. Every line is a process
of its own. `--whole` computes all of it. Without it, both sides are computed for the first rows and repeated until they
are as many as the set has, and texts are scored for some seconds: memory is that of the whole, its time is estimated.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from petvr import similarity
from petvr.clip import config, weights
from petvr.retrieval import ranking
from petvr.similarity._head import size

SETS = {"activitynet": (4917, 4917, 64, 64), "msvd": (27763, 670, 12, 32)}  # texts, videos, frames, words
EMBED, PATCHES, PART = 512, 49, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", choices=SETS)
    parser.add_argument("--name", choices=similarity.available())
    parser.add_argument("--whole", action="store_true")
    parser.add_argument(
        "--full", action="store_true", help="no padding: every text and video as long as the set's longest"
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="of scoring, without --whole")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.set and given.name:
        measure(given)
        return
    for which in [given.set] if given.set else SETS:
        for name in [given.name] if given.name else similarity.available():
            own = [sys.executable, __file__, "--set", which, "--name", name, "--seconds", str(given.seconds)]
            own += ["--whole"] * given.whole + ["--full"] * given.full + ["--threads", str(given.threads)]
            subprocess.run(own, check=True)


@torch.no_grad()
def measure(given: argparse.Namespace) -> None:
    torch.set_num_threads(given.threads)
    texts, videos, frames, words = SETS[given.set]
    generator = torch.Generator().manual_seed(0)
    clip = weights.random(config.with_layers(config.geometry("vit-b-32"), 4), 0)
    score = similarity.build_similarity(given.name, {}, EMBED, generator, clip=clip, frames=frames, words=words).eval()
    del clip
    shortest = (words, frames) if given.full else (5, 1)
    left, left_time = sides(
        score.texts, texts, lambda n: text_features(n, words, shortest[0], score.NEEDS, generator), given.whole
    )
    right, right_time = sides(
        score.videos, videos, lambda n: video_features(n, frames, shortest[1], score.NEEDS, generator), given.whole
    )
    found = torch.rand(texts, videos, generator=generator)
    rows = max(1, min(texts, 2**32 // (videos * score.pair_cost(left, right))))
    spent = products = done = 0
    order = torch.randperm(texts, generator=generator)  # a part of the texts is long and short as all are
    for first in range(0, texts, rows):
        which = order[first : first + rows]
        part = {key: value[which] for key, value in left.items()}
        rate = matrix_rate()
        start = time.process_time()
        found[which] = score.score(part, right)
        spent += time.process_time() - start
        rate = (rate + matrix_rate()) / 2
        if not products:
            with Operations() as counter:
                score.score(part, right)
            share = counter.total / len(which)
        products += share * len(which) / rate
        done += len(which) * videos
        if not given.whole and spent > given.seconds:
            break
    pairs = spent / done
    start = time.process_time()
    ranking.evaluate(found, np.arange(texts) % videos)
    ranked = time.process_time() - start
    total = texts * left_time + videos * right_time + texts * videos * pairs + ranked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{given.set:11} {given.name:11} {1e3 * left_time:7.2f} s a thousand texts, {1e3 * right_time:7.2f} s a "
        f"thousand videos, {1e6 * pairs:6.2f} s a million pairs; the whole {total:6.0f} s of CPU"
        f"{'' if given.whole else ' (estimated)'}, scores {spent / products:.1f} times their matrix products, "
        f"peak {peak:.2f} GiB",
        flush=True,
    )


class Operations(TorchDispatchMode):
    """Of matrix products, as torch counts them."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.total += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def matrix_rate() -> float:
    """FLOP per CPU second of large square products, now."""
    a = torch.randn(1024, 1024)
    start = time.process_time()
    for _ in range(4):
        a @ a
    return 4 * 2 * 1024**3 / (time.process_time() - start)


def sides(side, count: int, features, whole: bool) -> tuple[dict[str, torch.Tensor], float]:
    """All rows of one side, written where they stay, and CPU seconds a row; not `whole`: the first part's, repeated."""
    found: dict[str, torch.Tensor] = {}
    spent = rows = 0
    for first in range(0, count, PART):
        if whole or first == 0:
            given = features(min(PART, count - first))
            start = time.process_time()
            part = side(given)
            spent, rows = spent + time.process_time() - start, rows + size(part)
            del given
        for key, value in part.items():
            if key not in found:
                found[key] = value.new_empty((count, *value.shape[1:]))
            found[key][first : first + PART] = value[: count - first]
    return found, spent / rows


def text_features(count: int, words: int, shortest: int, needs: tuple[str, ...], generator: torch.Generator) -> dict:
    found = {"text": torch.randn(count, EMBED, generator=generator)}
    if "words" in needs:
        lengths = torch.randint(shortest, words + 1, (count, 1), generator=generator)
        found["words"] = torch.randn(count, words, EMBED, generator=generator)
        found["word_mask"] = torch.arange(words) < lengths
    return found


def video_features(count: int, frames: int, shortest: int, needs: tuple[str, ...], generator: torch.Generator) -> dict:
    lengths = torch.randint(shortest, frames + 1, (count, 1), generator=generator)
    found = {"frames": torch.randn(count, frames, EMBED, generator=generator), "mask": torch.arange(frames) < lengths}
    if "patches" in needs:
        found["patches"] = torch.randn(1, 1, PATCHES, EMBED, generator=generator) + found["frames"][:, :, None]
    return found


if __name__ == "__main__":
    main()
