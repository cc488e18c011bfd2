"""Videos per second from files into a frame store, by decoder and number of processes, and the store's reading rate.

    python benchmarks/frames_decode.py FOLDER_OF_VIDEOS [--frames 12] [--size 224] [--limit 200]

Prints one line per measurement. Opening and checking the file, resize and crop are part of it, as in `petvr frames`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from petvr.data.frames.build import decode_item
from petvr.data.frames.store import FrameStore, VideoItem, build_store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sampler", default="c4c_1fps_int")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--limit", type=int, default=200)
    arguments = parser.parse_args()
    sampler, frames, size = arguments.sampler, arguments.frames, arguments.size
    files = sorted(path for path in arguments.folder.iterdir() if path.is_file())[: arguments.limit]
    items = [VideoItem(path.name, path) for path in files]
    for name, use_decord in (("decord where it is right", True), ("PyAV alone", False)):
        decode_item(items[0], sampler, frames, size, use_decord)  # imports
        start, cpu = time.perf_counter(), time.process_time()
        for item in items:
            decode_item(item, sampler, frames, size, use_decord)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        print(f"one process, {name}: {len(items) / wall:.1f} videos/s, {1000 * cpu / len(items):.1f} CPU ms a video")
    with tempfile.TemporaryDirectory() as folder:
        for workers in sorted({1, 2, os.cpu_count() or 1}):
            out = Path(folder) / str(workers)
            report = build_store(items, out, sampler=sampler, frames=frames, size=size, workers=workers, progress=False)
            print(f"store, {workers} processes and their start: {len(items) / report.seconds:.1f} videos/s")
        reading(FrameStore(out))


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
