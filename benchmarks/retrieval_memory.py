"""Seconds and peak memory of ranking a square gallery in both directions from features, plain and with dual-softmax.

python benchmarks/retrieval_memory.py --size 50000 --device cpu
"""

import argparse
import resource
import time

import numpy as np
import torch

from petvr.retrieval import ranking


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=10000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dsl", default="emcl")
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, options.size, options.width, generator=generator)
    text, video = torch.nn.functional.normalize(features, dim=-1).to(options.device)

    def rows(index: torch.Tensor) -> torch.Tensor:
        return text[index.to(options.device)] @ video.T

    start = time.perf_counter()
    owner = np.arange(options.size)
    report = ranking.evaluate(rows, owner, videos=options.size, dsl=options.dsl, temperature=0.01)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = f"{options.size} x {options.size}, dsl {options.dsl}: {seconds:.1f} s, peak {peak:.0f} MiB of host memory"
    if options.device != "cpu":
        line += f", {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB of device memory"
    print(line, f"(MnR {report.plain.directions()['t2v']['MnR']:.1f})")


if __name__ == "__main__":
    main()
