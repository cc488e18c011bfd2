"""A small world for tests of training: pictures whose colour the caption names, a tiny random CLIP, a spec."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from petvr.clip import tokenizer, weights
from petvr.clip.config import ClipConfig, Tower
from petvr.data.datasets.base import Dataset, Split, from_lists
from petvr.data.frames.index import FrameIndex, FrameRecord, SourceFingerprint, StoreSettings, checksum
from petvr.result import Result
from petvr.spec import Recipe, RunSpec
from petvr.training import run
from petvr.training.options import TrainOptions

torch.set_num_threads(1)

SIZE, FRAMES, WORDS = 16, 3, 12
SHADES = ["red", "green", "blue", "white", "grey", "pink", "gold", "cyan"]
WAYS = ["left", "right", "up", "down"]


class Colours(Dataset):
    """`train` and `test` videos of one shade moving one way; two captions a video in training."""

    name, folder, kind = "colours", "colours", "single"
    counts = {"train": (24, 48), "test": (16, 16)}  # noqa: RUF012
    per_video = 1  # captions of a test video

    @property
    def synthetic(self) -> bool:
        return False

    def files(self, which: str) -> list[Path]:
        return []

    def _read_split(self, which: str) -> Split:
        videos = [f"{which}{number}" for number in range(self.counts[which][0])]
        captions = {video: captions_of(video) for video in videos}
        if which == "test":
            captions = {video: texts[: self.per_video] for video, texts in captions.items()}
        return from_lists(which, videos, captions)


def facts(video: str) -> tuple[int, int]:
    number = int(video.removeprefix("train").removeprefix("test"))
    return number % len(SHADES), (number // len(SHADES)) % len(WAYS)


def captions_of(video: str) -> list[str]:
    shade, way = facts(video)
    return [f"{SHADES[shade]} {WAYS[way]}", f"to {WAYS[way]}: {SHADES[shade]}"]


def pictures(video: str) -> np.ndarray:
    """uint8 [f, 3, SIZE, SIZE], f = FRAMES or one less: a coloured bar at a place that depends on the frame."""
    shade, way = facts(video)
    noise = np.random.default_rng(int(hashlib.sha256(video.encode()).hexdigest()[:8], 16))
    count = FRAMES - (noise.random() < 0.3)
    out = noise.integers(0, 40, (count, 3, SIZE, SIZE)).astype(np.uint8)
    colour = np.random.default_rng(shade).integers(60, 216, 3).astype(np.uint8)
    for frame in range(count):
        place = (frame if way % 2 else FRAMES - 1 - frame) * 5
        band = (
            (slice(None), slice(place, place + 5)) if way < 2 else (slice(None), slice(None), slice(place, place + 5))
        )
        out[frame][band] = colour[:, None, None]
    return out


def write_store(folder: Path, videos: list[str], problems: dict | None = None) -> Path:
    """A frame store as petvr.data.frames writes it, without decoding anything."""
    folder.mkdir(parents=True)
    settings = StoreSettings("uniform_mid", FRAMES, SIZE, {"sampler": 1, "decode": 1, "preprocess": 1, "format": 1})
    records, offset = {}, 0
    with open(folder / "frames.bin", "wb") as stream:
        for video in videos:
            data = pictures(video)
            stream.write(data.tobytes())
            records[video] = FrameRecord(
                offset, tuple(range(len(data))), len(data), 3.0, "none", "", SourceFingerprint(), None, checksum(data)
            )
            offset += len(data)
    index = FrameIndex(settings, records, problems or {})
    (folder / "index.json").write_text(json.dumps(index.to_json()))
    return folder


def write_weights(folder: Path, width: int = 32, layers: int = 2) -> Path:
    tower = Tower(width=width, layers=layers, heads=2, mlp=2 * width)
    vocabulary = [*tokenizer.byte_symbols(), *(s + "</w>" for s in tokenizer.byte_symbols())]
    names = [*vocabulary, tokenizer.SOT, tokenizer.EOT]
    config = ClipConfig(
        vision=tower,
        text=tower,
        image=SIZE,
        patch=8,
        positions=WORDS + 8,
        vocab=len(names),
        eot=len(names) - 1,
        embed=16,
    )
    weights.save(weights.random(config, seed=3), folder)
    tokenizer.build_tokenizer({name: number for number, name in enumerate(names)}, [], folder)
    return folder


def recipe(**changes) -> Recipe:
    values = {
        "optimizer": "bert_adam", "lr_clip": 1e-3, "lr_new": 1e-3, "lr_head": 1e-3, "weight_decay": 0.2,
        "no_decay": "bias", "betas": (0.9, 0.98), "eps": 1e-6, "warmup": 0.1, "schedule": "warmup_cosine",
        "clip_global": 1.0, "clip_tensor": 1.0, "epochs": 3, "batch": 8, "drop_last": True, "precision": "fp32",
        "frames": FRAMES, "words": WORDS, "sampler": "uniform_mid", "captions": "all_pairs", "augment": "none",
        "data_order": "by_seed", "similarity": "mean_pool", "similarity_setting": {}, "logit_scale": "train",
        "logit_scale_max": 100.0, "evaluations_per_epoch": 1, "selection": "best_on_test", "select_by": "t2v/R@1",
        "dsl": "emcl", "dsl_temperature": 0.01,
    }  # fmt: skip
    return Recipe(**(values | changes))


def spec(method: str = "full", train: bool = True, seed: int = 0, setting: dict | None = None, **changes) -> RunSpec:
    return RunSpec(
        paper="vop", dataset="colours", backbone="tiny", method=method, setting=setting or {}, seed=seed, train=train,
        recipe=recipe(**changes), sources={}, versions={"training": 1},
    )  # fmt: skip


def videos() -> list[str]:
    return [f"{which}{number}" for which, (count, _) in Colours.counts.items() for number in range(count)]


def train(spec: RunSpec, **options) -> Result:
    return run.train(spec, TrainOptions(**options))


def everything(folder: Path) -> dict:
    """A fresh small world below `folder`; returns `arguments`."""
    write_weights(folder / "weights")
    write_store(folder / "store", videos())
    return arguments(folder)


def arguments(folder: Path) -> dict:
    """The options of a run that say where things lie."""
    return {
        "weights": folder / "weights",
        "store": folder / "store",
        "dataset": Colours(folder),
        "out": folder / "out",
        "state": folder / "state",
        "device": "cpu",
        "threads": 1,
        "progress": False,
    }


def resumable() -> RunSpec:
    """Everything random at once: a module with dropout, cropped pictures, drawn captions. 9 steps, 4 evaluations."""
    return spec(
        "cross_modal_adapter",
        setting={"r": 4, "ds": 4, "dropout": 0.2},
        augment="crop_flip",
        captions="one_per_video",
        lr_new=1e-2,
    )


def outcome(result, out: Path) -> dict:
    """All that must not depend on interruptions: metrics, selection, every rank, trained weight and loss, as bytes."""
    with np.load(out / "ranks.npz") as file:
        ranks = {name: file[name].tobytes() for name in file.files}
    weights = {name: tensor.numpy().tobytes() for name, tensor in load_file(out / "adapter.safetensors").items()}
    evaluations = [evaluation.model_dump() for evaluation in result.evaluations]
    losses = (out / "loss.npy").read_bytes()
    return {
        "evaluations": evaluations, "selected": result.selected, "ranks": ranks, "weights": weights, "losses": losses,
    }  # fmt: skip
