"""What the page of `petvr serve` waits for among 10,000 videos: a sentence encoded, all videos scored, the best sorted.

    python benchmarks/serve_answer.py [--videos 10000] [--threads 1] [--queries 9]

Of `petvr serve --run` and of `--index`, which scores in full the 100 videos nearest to the text. CLIP
ViT-B/32's towers with random weights, videos of 12 random frames, features at hand as after the page's start. The
first answer is one to a sentence never asked before; so is each of the others, whose median is printed beside it. CPU
time, of one thread: several that wait for each other on a busy machine count their waiting. Wall time beside it says
how busy the machine is.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from petvr.clip import config, tokenizer, weights
from petvr.config import load_config
from petvr.library.index_part import IndexPart
from petvr.library.text_video import TextVideoModel
from petvr.library.video_index import Index
from petvr.run_ids import spec_of
from petvr.search import rank
from petvr.training.model import build_model

RUNS = (
    "cross_modal_adapter/msrvtt-9k/vit-b-32/full@freeze=0,similarity=mean_pool/seed-0",
    "cross_modal_adapter/msrvtt-9k/vit-b-32/cross_modal_adapter@ds=16,r=8/seed-0",  # query-aware
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--queries", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        symbols = tokenizer.byte_symbols()
        names = [*symbols, *(symbol + "</w>" for symbol in symbols), tokenizer.SOT, tokenizer.EOT]
        clip = replace(config.geometry("vit-b-32"), vocab=len(names), eot=len(names) - 1)
        weights.save(weights.random(clip, 0), folder)
        tokenizer.build_tokenizer({name: number for number, name in enumerate(names)}, [], Path(folder))
        for run in RUNS:
            measure(run, Path(folder), arguments)


@torch.inference_mode()
def measure(name: str, folder: Path, arguments: argparse.Namespace) -> None:
    spec = spec_of(load_config(), name)
    model = build_model(spec, folder, torch.device("cpu"))
    reader = TextVideoModel(model, tokenizer.load_tokenizer(folder), spec, digest="", source=folder, clip_folder=folder)
    one = model.encode_frames(torch.zeros(1, 12, 3, 224, 224, dtype=torch.uint8), torch.ones(1, 12, dtype=torch.bool))
    towers = {
        key: torch.randn(arguments.videos, *part.shape[1:]) if part.is_floating_point()
        else part.expand(arguments.videos, *part.shape[1:]).contiguous() for key, part in one.items()
    }  # fmt: skip
    gallery = model.similarity.videos(towers)
    run = SimpleNamespace(model=model, text_video=reader)
    records = [{"video": f"v{number}", "file": f"v{number}.mp4"} for number in range(arguments.videos)]
    vectors = reader.video_vectors(towers).astype(np.float16)
    features = {} if reader.one_vector else {key: half(part) for key, part in towers.items()}
    index = Index([IndexPart(vectors, features, records, {})], {}, reader)
    report("run", spec.recipe.similarity, arguments, lambda text, top: rank.rank_videos(run, text, gallery, top))
    report("index", spec.recipe.similarity, arguments, index.search)


def half(part: torch.Tensor) -> np.ndarray:
    return (part.half() if part.is_floating_point() else part).numpy()


def report(kind: str, similarity: str, arguments: argparse.Namespace, search: Callable[[str, int], object]) -> None:
    search("a video", 1)  # as the page does at its start
    walls, spent = [], []
    for number in range(arguments.queries):
        wall, cpu = time.perf_counter(), time.process_time()
        search(f"a dog runs over the grass and catches ball number {number}", 12)
        walls.append(1e3 * (time.perf_counter() - wall))
        spent.append(1e3 * (time.process_time() - cpu))
    print(
        f"{kind:6}{similarity:12} {arguments.videos} videos: first answer {spent[0]:.0f} ms CPU "
        f"({walls[0]:.0f} ms wall), median of {len(spent)} {statistics.median(spent):.0f} ms CPU "
        f"({statistics.median(walls):.0f} ms wall)",
        flush=True,
    )


if __name__ == "__main__":
    main()
