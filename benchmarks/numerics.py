"""Rounding of every arithmetic a run may have, per block and at the end, against the same CLIP in float64.

    python benchmarks/numerics.py                                       random ViT-B/32 of 4 blocks, on this processor
    python benchmarks/numerics.py --weights results/weights/vit-b-32 --device cuda

For each mode of `recipe.precision`: the relative error of both towers' stream after each block, of the features and of
the scores (absolute: a score is a cosine), and how often the nearest video of a text is another than in float64. Noise
for pictures. What a mode does to metrics is for runs to say: `petvr compare RUN RUN@precision=bf16`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from petvr import methods
from petvr.clip import config, weights
from petvr.clip.insert import Inserts
from petvr.clip.towers import Clip
from petvr.similarity import build_similarity
from petvr.training.determinism import prepare_device
from petvr.training.model import Model
from petvr.training.precision import MODES

VIDEOS, FRAMES, WORDS = 16, 2, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="folder of a CLIP (default: a random one)")
    parser.add_argument("--layers", type=int, default=4, help="of the random one (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    device = prepare_device(given.device, None)

    def clip() -> Clip:
        if given.weights:
            return weights.load_clip(given.weights)
        return weights.random(config.with_layers(config.geometry("vit-b-32"), given.layers), 0)

    exact = streams(clip().double(), "fp32", torch.device("cpu"), torch.float64)
    names = list(exact)
    grid = Table("mode", *(f"{name}" for name in names), "nearest", box=None, pad_edge=False, header_style="bold")
    for mode in MODES:
        mine = streams(clip(), mode, device, torch.float32)
        other = (mine["scores"].argmax(dim=1) != exact["scores"].argmax(dim=1)).float().mean()
        errors = [error(mine[name], exact[name], name == "scores") for name in names]
        grid.add_row(mode, *(f"{value:.1e}" for value in errors), f"{other:.0%}")
    console = Console()
    console.width = max(console.width, 200)
    console.print(grid)
    console.print(f"{torch.cuda.get_device_name() if device.type == 'cuda' else 'cpu'}, torch {torch.__version__}")


@torch.no_grad()
def streams(clip: Clip, mode: str, device: torch.device, kind: torch.dtype) -> dict[str, torch.Tensor]:
    """Both towers' stream after each block, features and scores, in float64 on the CPU."""
    geometry, kept = clip.config, {}
    adapted = methods.adapt(clip, "zero_shot", {}, frames=FRAMES, words=WORDS, generator=torch.Generator())
    head = build_similarity("mean_pool", {}, geometry.embed, torch.Generator())
    model = Model(adapted, head, mode=mode).to(device)
    adapted.inserts = Inserts(geometry)

    def keep(x: torch.Tensor, context: object) -> torch.Tensor:
        kept[f"{context.tower[0]}{context.layer}"] = x.double().cpu()
        return x

    adapted.inserts.add("both", "block_out", keep)
    model.set_training(False)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(VIDEOS, FRAMES, 3, geometry.image, geometry.image, generator=generator)
    ids = torch.randint(1, geometry.eot - 1, (VIDEOS, WORDS), generator=generator)
    ids[:, -1] = geometry.eot
    with model.autocast():
        texts = adapted.encode_texts(ids.to(device)).double().cpu()
        frames = adapted.encode_frames(pixels.to(device, kind)).double().cpu()
    texts, videos = (torch.nn.functional.normalize(part, dim=-1) for part in (texts, frames.mean(dim=1)))
    return kept | {"texts": texts, "videos": videos, "scores": texts @ videos.T}


def error(mine: torch.Tensor, exact: torch.Tensor, absolute: bool) -> float:
    distance = (mine - exact).norm() if not absolute else (mine - exact).abs().max()
    return float(distance if absolute else distance / exact.norm())


if __name__ == "__main__":
    main()
