"""Seconds of one exact search among a million vectors of 512, and what quicker indexes of FAISS find of the same.

    python benchmarks/index_search.py [--videos 1000000] [--embed 512] [--threads 2] [--queries 20] [--faiss]

Vectors are random around a thousand random centres, float16, in one part of an index that is memory-mapped as
`petvr.Index.load` maps it. The first search reads the file; the median of the others is what a search costs. --faiss
(pip install faiss-cpu) builds IVF indexes on the same vectors, trained on a seeded sample, and prints recall@10 against
the exact answers: on data of one's own it is another.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from petvr.library.index_part import IndexPart
from petvr.library.video_index import Index

BLOCK = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--embed", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--faiss", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    chance = np.random.default_rng(0)
    centres = chance.standard_normal((1000, arguments.embed), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        vectors = np.lib.format.open_memmap(path, "w+", np.float16, (arguments.videos, arguments.embed))
        for start in range(0, arguments.videos, BLOCK):
            count = min(BLOCK, arguments.videos - start)
            vectors[start : start + count] = unit(near(centres, count, chance))
        vectors.flush()
        part = IndexPart(np.load(path, mmap_mode="c"), {}, range(arguments.videos))  # type: ignore[arg-type] # no records
        index = Index([part], {}, None)
        queries = unit(near(centres, arguments.queries, chance))
        seconds, processor, exact = [], time.process_time(), []
        for query in queries:
            begin = time.perf_counter()
            exact.append(index.nearest(query[None], 10)[0][0])
            seconds.append(time.perf_counter() - begin)
        cpu = (time.process_time() - processor) / arguments.queries
        print(
            f"exact, {arguments.videos:,} x {arguments.embed}, {arguments.threads} threads: first {seconds[0]:.2f} s, "
            f"then {np.median(seconds[1:]):.3f} s (least {min(seconds):.3f}); {cpu:.3f} CPU s each"
        )
        begin = time.perf_counter()
        index.nearest(queries, 10)
        print(f"all {arguments.queries} at once: {(time.perf_counter() - begin) / arguments.queries:.3f} s each")
        if arguments.faiss:
            beside_faiss(np.asarray(vectors), queries, np.stack(exact), arguments.threads)


def near(centres: np.ndarray, count: int, chance: np.random.Generator) -> np.ndarray:
    return centres[chance.integers(0, len(centres), count)] + chance.standard_normal(
        (count, centres.shape[1]), np.float32
    )


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def beside_faiss(vectors: np.ndarray, queries: np.ndarray, exact: np.ndarray, threads: int) -> None:
    import faiss

    faiss.omp_set_num_threads(threads)
    lists = 2 ** round(np.log2(4 * len(vectors) ** 0.5))
    sample = np.random.default_rng(1).choice(len(vectors), min(len(vectors), 40 * lists), replace=False)
    for kind in (f"IVF{lists},SQfp16", f"IVF{lists},PQ64"):
        begin = time.perf_counter()
        index = faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = 1
        index.train(vectors[np.sort(sample)].astype(np.float32))
        for start in range(0, len(vectors), BLOCK):
            index.add(vectors[start : start + BLOCK].astype(np.float32))
        print(f"FAISS {kind}: made in {time.perf_counter() - begin:.0f} s")
        for probes in (1, 8, 32):
            index.nprobe = probes
            begin = time.perf_counter()
            answers = index.search(queries.astype(np.float32), 10)[1]
            each = (time.perf_counter() - begin) / len(queries)
            recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(answers.tolist(), exact.tolist(), strict=True)])
            print(f"  nprobe {probes}: {1000 * each:.1f} ms, recall@10 {recall:.3f}")


if __name__ == "__main__":
    main()
