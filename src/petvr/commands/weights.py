"""`petvr weights vit-b-32`: a backbone as one canonical folder (config.json, model.safetensors, tokenizer)."""

from __future__ import annotations

import argparse

from petvr import environment
from petvr.arguments import threads
from petvr.config import Config
from petvr.data import catalogue
from petvr.errors import PetvrError, unknown
from petvr.layout import Layout


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backbone", help="vit-b-32, vit-b-16, vit-l-14, tiny, or another key of `weights`")
    parser.add_argument("--threads", type=threads, default=1, help="CPU threads for training the tiny CLIP (default 1)")


def run(args: argparse.Namespace, config: Config) -> None:
    out = Layout(config.results).weights(args.backbone)
    if args.backbone == "tiny" and config.world is not None:
        from petvr.world import tiny_clip

        tiny_clip.train(
            out,
            seed=config.world.seed,
            steps=config.world.tiny_clip.steps,
            batch=config.world.tiny_clip.batch,
            lr=config.world.tiny_clip.lr,
            threads=args.threads,
        )
        return
    if args.backbone not in config.weights:
        raise unknown("backbone", args.backbone, config.weights, "config.yaml: weights")
    from petvr.clip import weights
    from petvr.clip.config import GEOMETRIES

    planned = catalogue.image_size(config, args.backbone)
    geometry = weights.fetch(config.weights[args.backbone], out, GEOMETRIES.get(args.backbone))
    if geometry.image != planned and environment.inside_a_rule():
        raise PetvrError(
            f"{out}: reads pictures of {geometry.image} px, frames of {planned} px were planned; nothing was decoded: "
            "start the workflow again, which now knows the size"
        )
    print(f"{out}: pictures of {geometry.image} px, {geometry.vocab} tokens, {geometry.embed} numbers a feature")
