"""An epoch's frames from the store, next to CLIP4Clip's way: OpenCV, a seek per sampled second, per sample, per epoch.

    pip install opencv-python-headless          for CLIP4Clip's way only; petvr itself never uses it
    python benchmarks/frames_epoch.py [--clips FOLDER] [--json FILE]
    python benchmarks/frames_epoch.py --reading the store against the machine's memory and disk, no video decoded

Everything happens in this one process with one thread, in rounds of all contestants, and the ratio is taken within each
round; printed are medians. Rates are per second of CPU time where work is computed or copied, and wall time where a
disk is waited for, so that other load on the machine disturbs them little. Without --clips some are generated.
"""

from __future__ import annotations

import argparse
import gc
import json
import mmap
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from petvr.data.frames.build import store_settings
from petvr.data.frames.index import SourceFingerprint, checksum
from petvr.data.frames.store import FrameStore
from petvr.data.frames.store_writer import StoreWriter

SAMPLER, FRAMES, SIZE = "c4c_1fps_int", 12, 224
NEEDED = 3 * 1825  # pairs a second: three times what a step of B/32 takes on an H200 at half of its limit
CAPTIONS = 20  # MSR-VTT: each video is a sample so many times an epoch
BATCH = 32
BLOCK = 8 << 20
VIDEO = FRAMES * 3 * SIZE**2  # bytes
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, help="folder of videos (default: eight generated ones)")
    parser.add_argument("--limit", type=int, default=8, help="at most so many of them (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gib", type=float, default=1.0, help="size of the store that is read (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to put it: the disk to be measured (default: temporary)")
    parser.add_argument("--reading", action="store_true", help="only the store against memory and disk")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    arguments = parser.parse_args()
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        if not arguments.reading:
            found |= decoding(clips(arguments, Path(folder)), Path(folder), arguments.rounds)
        found |= reading(Path(folder), arguments.gib, arguments.rounds)
    if not arguments.reading:
        ratio = found["epoch_samples_per_cpu_second"] / found["opencv_samples_per_cpu_second"]
        found["epoch_over_opencv"] = ratio
        print(f"an epoch from the store over CLIP4Clip's way: {ratio:.0f} times (target: 50)")
        gain = found["first_pass_over_opencv"]
        print(
            f"five epochs of {CAPTIONS} captions a video: {5 * CAPTIONS} decodings of each video there, one here that "
            f"costs {1 / gain:.2f} of one of theirs, verified"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def decoding(files: list[Path], folder: Path, rounds: int) -> dict[str, float]:
    """One pass over the clips: CLIP4Clip's loader, and the store's first pass (decoding, checking, writing)."""
    from petvr.data.frames.build import VideoItem, decode_item

    items = [VideoItem(file.name, file) for file in files]
    seek_every_second(files[0])
    decode_item(items[0], SAMPLER, FRAMES, SIZE, True)  # imports

    def build(number: int) -> None:
        with StoreWriter(folder / f"first{number}", store_settings(SAMPLER, FRAMES, SIZE)) as store:
            for item in items:
                facts, pictures = decode_item(item, SAMPLER, FRAMES, SIZE, True)
                store.add(item.video, pictures, **facts)
            store.finish()

    theirs, ours = [], []
    for number in range(rounds):
        theirs.append(len(items) / cpu(lambda: [seek_every_second(file) for file in files]))
        ours.append(len(items) / cpu(lambda number=number: build(number)))
    gain = median([mine / its for mine, its in zip(ours, theirs, strict=True)])
    print(f"{len(items)} clips, one process, {rounds} rounds:")
    print(f"  CLIP4Clip's way             {median(theirs):9.1f} samples/s of CPU time")
    print(f"  the store's first pass      {median(ours):9.1f} videos/s of CPU time, {gain:.2f} times")
    return {
        "opencv_samples_per_cpu_second": median(theirs),
        "first_pass_videos_per_cpu_second": median(ours),
        "first_pass_over_opencv": gain,
    }


def seek_every_second(path: Path) -> np.ndarray:
    """What CLIP4Clip's loader does for one sample: float64 [FRAMES, 3, SIZE, SIZE]."""
    import cv2

    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(str(path))
    rate, count = int(capture.get(cv2.CAP_PROP_FPS)), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    pictures = []
    for second in range(-(-count // rate) + 1):
        capture.set(cv2.CAP_PROP_POS_FRAMES, second * rate)
        good, picture = capture.read()
        if not good:
            break
        pictures.append(as_clip_reads_it(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)))
    capture.release()
    if len(pictures) > FRAMES:
        pictures = [pictures[place] for place in np.linspace(0, len(pictures) - 1, FRAMES, dtype=int)]
    sample = np.zeros((FRAMES, 3, SIZE, SIZE))
    sample[: len(pictures)] = np.stack(pictures)
    return sample


def as_clip_reads_it(picture: np.ndarray) -> np.ndarray:
    from PIL import Image

    height, width = picture.shape[:2]
    scale = SIZE / min(height, width)
    image = Image.fromarray(picture).resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - SIZE) // 2, (image.height - SIZE) // 2
    pixels = np.asarray(image.crop((left, top, left + SIZE, top + SIZE)), np.float32) / 255
    return ((pixels - MEAN) / STD).transpose(2, 0, 1)


def reading(folder: Path, gib: float, rounds: int) -> dict[str, float]:
    """A store larger than the processor's caches: epochs in random order, warm and from the disk, and plain copies."""
    count = max(2 * BATCH, round(gib * 2**30 / VIDEO)) // BATCH * BATCH
    fill(folder / "large", count)
    store = FrameStore(folder / "large")
    rows, generator = store.rows(store.ids), np.random.default_rng(0)
    file = os.open(folder / "large" / "frames.bin", os.O_RDONLY)
    memory = np.fromfile(folder / "large" / "frames.bin", np.uint8).reshape(count, FRAMES, 3, SIZE, SIZE)
    buffer = np.zeros((BATCH, FRAMES, 3, SIZE, SIZE), np.uint8), np.zeros((BATCH, FRAMES), bool)

    other, middle = tuple(each.copy() for each in buffer), count // 2 // BATCH * BATCH

    def epoch(order: np.ndarray) -> None:
        read_part(order, buffer)

    def by_two(order: np.ndarray) -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(read_part, (order[:middle], order[middle:]), (buffer, other)))

    def read_part(order: np.ndarray, into: tuple[np.ndarray, np.ndarray]) -> None:
        for start in range(0, len(order), BATCH):
            store.get_rows(rows[order[start : start + BATCH]], into)

    def copies(order: np.ndarray) -> None:
        for start in range(0, count, BATCH):
            for place, row in enumerate(order[start : start + BATCH]):
                buffer[0][place] = memory[row]

    def straight() -> None:
        """From the first byte to the last, past the page cache: what the disk itself gives."""
        raw = os.open(folder / "large" / "frames.bin", os.O_RDONLY | os.O_DIRECT)
        with mmap.mmap(-1, BLOCK) as aligned:
            while os.readv(raw, [aligned]) == BLOCK:
                pass
        os.close(raw)

    def forget() -> None:
        """The file's pages leave the memory; a map of them would hold them there."""
        nonlocal store
        store = None
        gc.collect()
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        store = FrameStore(folder / "large")

    took: dict[str, list[float]] = {
        name: [] for name in ("memory", "first", "warm", "two", "copied", "later", "disk", "cold")
    }

    def in_memory(order: np.ndarray, visited: str, memory_now: str) -> None:
        # memory before and after the store, so that a clock that changes favours neither
        before = cpu(lambda: copies(order))
        took[visited].append(cpu(lambda: epoch(order)))
        took[memory_now].append((before + cpu(lambda: copies(order))) / 2)

    for _ in range(rounds):  # the file as writing or copying it leaves it in memory: in large pages
        order = generator.permutation(count)
        store = FrameStore(folder / "large")  # a new map: its pages are in memory, but not yet in its table
        took["first"].append(cpu(lambda: epoch(order)))  # noqa: B023
        in_memory(order, "warm", "memory")
        took["two"].append(cpu(lambda: by_two(order)))  # noqa: B023
    for _ in range(rounds):  # and as reading it from the disk in random order leaves it: in small ones
        order = generator.permutation(count)
        forget()
        took["disk"].append(wall(straight))
        forget()
        took["cold"].append(wall(lambda: epoch(order)))  # noqa: B023
        in_memory(order, "later", "copied")
    os.close(file)
    size = count * VIDEO / 1e9
    rate = {name: size / median(seconds) for name, seconds in took.items()}
    share = {
        "warm_over_memory": ratio(took["memory"], took["warm"]),
        "first_over_memory": ratio(took["memory"], took["first"]),
        "later_over_memory": ratio(took["copied"], took["later"]),
        "cold_over_disk": ratio(took["disk"], took["cold"]),
    }
    samples = rate["warm"] * 1e9 / VIDEO
    print(f"a store of {count} videos, {size:.2f} GB, in random batches of {BATCH}, one thread, {rounds} rounds:")
    print(f"  copying memory              {rate['memory']:9.2f} GB/s of CPU time")
    for name, text in {
        "first": "a process's first epoch    ",
        "warm": "its later ones             ",
        "later": "... after it came from disk",
    }.items():
        print(f"  {text} {rate[name]:9.2f} GB/s of CPU time, {percent(share[f'{name}_over_memory'])} of memory's")
    print(f"  the disk, read straight on  {rate['disk']:9.2f} GB/s of wall time")
    cold = f"{rate['cold']:9.2f} GB/s of wall time, {percent(share['cold_over_disk'])} of the disk's"
    print(f"  an epoch, nothing in memory {cold}")
    print(f"  an epoch                    {samples:9.0f} samples/s of CPU time (target: 90 % of memory and disk)")
    kept = min(1.0, ratio(took["warm"], took["two"]))  # of a thread's rate when another one reads beside it
    eight = 8 * samples * kept**3
    print(
        f"a dry reader of one thread gives {samples:.0f} pairs/s of CPU time, of two {2 * samples * kept:.0f}; "
        f"EXTRAPOLATED to eight, with that loss at every doubling, {eight:.0f} (needed: {NEEDED})"
    )
    return {f"{name}_gb_per_second": value for name, value in rate.items()} | share | {
        "epoch_samples_per_cpu_second": samples, "two_over_one_thread": kept, "extrapolated_to_eight": eight
    }  # fmt: skip


def fill(out: Path, count: int) -> None:
    """A sound store of `count` videos of noise."""
    generator = np.random.default_rng(0)
    with StoreWriter(out, store_settings(SAMPLER, FRAMES, SIZE)) as store:
        for number in range(count):
            pictures = generator.integers(0, 256, (FRAMES, 3, SIZE, SIZE), np.uint8)
            facts = {
                "n_frames": 300,
                "fps": 25.0,
                "decoder": "none",
                "note": "",
                "source": SourceFingerprint(),
                "window": None,
            }
            store.add(f"video{number}", pictures, indices=tuple(range(FRAMES)), checksum=checksum(pictures), **facts)
        store.finish()


def clips(arguments: argparse.Namespace, folder: Path) -> list[Path]:
    """The user's, or eight of 320x240, 25 fps, 15 s, H.264, as MSR-VTT's are: noise that drifts, so that it costs."""
    if arguments.clips:
        return sorted(path for path in arguments.clips.iterdir() if path.is_file())[: arguments.limit]
    import av

    made = []
    for number in range(min(8, arguments.limit)):
        generator = np.random.default_rng(number)
        coarse = generator.integers(0, 256, (40, 54, 3), np.uint8)
        canvas = np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)
        made.append(folder / f"clip{number}.mp4")
        with av.open(str(made[-1]), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 320, 240, "yuv420p", 400_000
            for frame in range(375):
                top, left = frame % 80, frame * 2 % 110
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(canvas[top : top + 240, left : left + 320]))
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
    return made


def cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def wall(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratio(others: list[float], ours: list[float]) -> float:
    """How much faster than the others, round by round."""
    return median([other / own for other, own in zip(others, ours, strict=True)])


def percent(value: float) -> str:
    return f"{100 * value:.0f} %"


median = statistics.median

if __name__ == "__main__":
    main()
