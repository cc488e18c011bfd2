"""What checked reading costs beside decord alone; videos per second into a frame store; the store's reading rate.

    python benchmarks/frames_decode.py FOLDER_OF_VIDEOS [--frames 12] [--size 224] [--limit 200] [--rounds 5]

First each file is read in turn by decord alone (open, `get_batch`) and by `read_frames`, the same frames, in one
process, and the least CPU time of several rounds is compared; then files go into stores, resize and crop included.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from petvr.data.frames.decode import read_frames
from petvr.data.frames.probe import probe
from petvr.data.frames.samplers import pick
from petvr.data.frames.store import FrameStore, VideoItem, build_store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sampler", default="c4c_1fps_int")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    sampler, frames, size = arguments.sampler, arguments.frames, arguments.size
    files = sorted(path for path in arguments.folder.iterdir() if path.is_file())[: arguments.limit]
    items = [VideoItem(path.name, path) for path in files]
    beside_decord(files, sampler, frames, arguments.rounds)
    with tempfile.TemporaryDirectory() as folder:
        for workers in sorted({1, 2, os.cpu_count() or 1}):
            out = Path(folder) / str(workers)
            report = build_store(items, out, sampler=sampler, frames=frames, size=size, workers=workers, progress=False)
            print(f"store, {workers} processes and their start: {len(items) / report.seconds:.1f} videos/s")
        reading(FrameStore(out))


def beside_decord(files: list[Path], sampler: str, frames: int, rounds: int) -> None:
    """CPU milliseconds a file, interleaved; files that decord misreads are left out of the comparison."""
    import decord

    def alone(path: Path) -> None:
        reader = decord.VideoReader(str(path), num_threads=1)
        len(reader)
        reader.get_batch(indices)

    def checked(path: Path) -> str:
        return read_frames(path, lambda n, fps: indices).decoder

    sums = {alone: 0.0, checked: 0.0}
    for path in files:
        facts = probe(path)
        if facts.against_decord():
            continue
        indices = pick(sampler, n_frames=facts.n_frames, fps=facts.fps, frames=frames)
        best = dict.fromkeys(sums, float("inf"))
        for _ in range(rounds):
            for read in best:
                start = time.process_time()
                decoder = read(path)
                best[read] = min(best[read], time.process_time() - start)
        for read, seconds in best.items():
            sums[read] += seconds
        ms, ratio = 1000 * best[alone], best[checked] / best[alone]
        print(f"{path.name}: {len(indices)} of {facts.n_frames} frames: decord {ms:.1f} ms, {decoder} x{ratio:.2f}")
    if sums[alone]:
        print(f"all: checked reading costs {sums[checked] / sums[alone]:.2f} times decord alone")


def reading(store: FrameStore, batch: int = 32, seconds: float = 2.0) -> None:
    """Random batches into one buffer, pages already in memory."""
    rows = store.rows(store.ids)
    generator = np.random.default_rng(0)
    pixels, mask = store.get_rows(generator.choice(rows, batch))
    start, read = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        store.get_rows(generator.choice(rows, batch), (pixels, mask))
        read += pixels.nbytes
    print(f"reading batches of {batch}: {read / (time.perf_counter() - start) / 1e9:.2f} GB/s")


if __name__ == "__main__":
    main()
