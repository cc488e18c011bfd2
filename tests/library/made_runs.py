"""Specs of runs whose models have every kind of score, and a finished run without the training."""

from __future__ import annotations

from pathlib import Path

import torch
import training_bench as tiny

from petvr.clip import weights
from petvr.result import Result, StoredFile
from petvr.spec import RunSpec
from petvr.training.model import build_model
from petvr.training.result_writer import write_adapter

PLAIN = {"R@1": 20.0, "R@5": 50.0, "R@10": 70.0, "RSum": 140.0, "MdR": 5.0, "MnR": 9.0}
EVERY = {  # method -> setting and similarity: every kind of score a model can have
    "full": ({}, "mean_pool"),
    "cross_modal_adapter": ({"r": 4, "ds": 4}, "query_aware"),
    "seq_transf": ({}, "seq_transf"),
    "x_pool": ({}, "x_pool"),
    "x_clip": ({}, "x_clip"),
    "ts2_net": ({}, "ts2_net"),
    "clip2video": ({}, "clip2video"),
    "hunyuan": ({}, "hunyuan"),
    "ju": ({"prefix": 2, "postfix": 2}, "ju"),
    "rap": ({"hidden": 4}, "mean_pool"),
}


def spec_of(method: str, setting: dict | None = None, **changes):
    usual, similarity = EVERY.get(method, ({}, "mean_pool"))
    changes.setdefault("similarity", similarity)
    if similarity == "ts2_net":
        changes["similarity_setting"] = {"tokens": 2, "samples": 20}
    return tiny.spec(method, train=method != "zero_shot", setting=usual if setting is None else setting, **changes)


def write_run(spec: RunSpec, result: Result, results: Path, clip: Path | None = None) -> Path:
    """The folder of a run as training leaves it, its trained tensors moved by chance."""
    clip = clip or results / "weights" / "tiny"
    folder = results / "runs" / spec.id
    model = build_model(spec, clip, torch.device("cpu"))
    chance = torch.Generator().manual_seed(7)
    state = {name: part + 0.05 * torch.randn(part.shape, generator=chance) for name, part in model.state().items()}
    write_adapter(state, folder / "adapter.safetensors")
    result.provenance.weights_digest = weights.digest(clip)
    files = {"adapter.safetensors": StoredFile.of(folder / "adapter.safetensors")}
    result.model_copy(update={"files": files}).write(folder / "result.json")
    return folder
