"""What a run leaves behind, written from its state.

result.json          petvr.result.Result, written last
ranks.npz            `<n>/plain/t2v`, `<n>/plain/v2t`, `<n>/dsl/...`: int32 [2, Q], how many candidates stand above the
                     true one and how many are tied with it, of every caption (t2v) and every video (v2t), for entry n
                     of `evaluations`; `videos` (ids) and `owner` (the video of each caption)
adapter.safetensors  the trained tensors at the evaluation that the recipe's selection rule takes (not those of every
                     rule: full tuning would keep CLIP twice); empty where nothing was trained
loss.npy             float32 [steps]: the loss of every batch; none where nothing was trained
log.txt              lines with UTC times, of all attempts
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from petvr import __version__, atomic
from petvr.clip.compiled import compiled_graphs
from petvr.costs.compute import counted_flops
from petvr.data.datasets import Split
from petvr.result import Cost, Evaluation, Provenance, Rehearsed, Result, StoredFile
from petvr.spec import RunSpec
from petvr.training.checkpoint import TrainState
from petvr.training.determinism import numerics

PACKAGES = ("torch", "numpy", "safetensors", "tokenizers", "transformers", "decord", "av", "pydantic")
SOURCE = Path(__file__).resolve().parents[1]


def write_results(folder: Path, result: Result, state: TrainState, test: Split) -> Result:
    """All files atomically, result.json last, which knows the others by their hashes; the result as it was written.

    Raises PetvrError naming the file that cannot be written.
    """
    ranks = {f"{n}/{name}": array for n, arrays in enumerate(state.ranks) for name, array in arrays.items()}
    with atomic.replacing(folder / "ranks.npz") as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, videos=np.array(test.videos), owner=np.array(test.caption_video, np.int32), **ranks)
    write_adapter(selected_tensors(result.spec, state), folder / "adapter.safetensors")
    names = ["ranks.npz", "adapter.safetensors"]
    if state.losses is not None:
        names.append("loss.npy")
        with atomic.replacing(folder / "loss.npy") as temporary, open(temporary, "wb") as stream:
            np.save(stream, state.losses.cpu().numpy())
    files = {name: StoredFile.of(folder / name) for name in names}
    result = result.model_copy(update={"files": files})
    result.write(folder / "result.json")
    return result


def write_adapter(tensors: dict[str, Tensor], path: Path) -> None:
    """Trained tensors as safetensors, named as Adapted names them; those of the similarity begin with `similarity.`."""
    from safetensors.torch import save_file

    with atomic.replacing(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)


def selected_tensors(spec: RunSpec, state: TrainState) -> dict[str, Tensor]:
    """The trained tensors at the evaluation that the recipe's rule takes."""
    if not spec.train:
        return {}
    if spec.recipe.selection != "last" and state.best is not None:
        return state.best
    return state.model.state()


def cost_of(
    spec: RunSpec, state: TrainState, cached_blocks: int | None, texts_once: bool, counted: Path | None
) -> Cost:
    """counted: the folder of FLOP counts that runs share."""
    by_part, total = state.model.counts()
    choices = {"train": spec.train, **spec.recipe.model_choices(spec.train)}
    clip = state.model.adapted.clip.config
    forward, step = counted_flops(counted, spec.versions, clip, spec.method, spec.setting, **choices)
    return Cost(
        trainable=sum(by_part.values()),
        total=total,
        trainable_by_part=by_part,
        flops_per_pair=step,
        forward_flops=forward,
        peak_memory_bytes=peak_memory(state.model.device),
        train_seconds=state.train_seconds,
        eval_seconds=state.eval_seconds,
        pairs_per_second=state.pairs / state.train_seconds if state.pairs else None,
        resumed=state.resumed,
        compile_seconds=compiled_graphs()[1] if state.model.compiled else None,
        prefix_blocks=cached_blocks,
        texts_once=texts_once,
    )


def peak_memory(device: torch.device) -> int:
    """Peak bytes: what torch allocated on a GPU, the process's resident memory on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def evaluation_line(evaluation: Evaluation) -> str:
    """One evaluation as a person reads it."""
    loss = "" if evaluation.train_loss is None else f", loss {evaluation.train_loss:.4f}"
    ways = [
        f"{way} " + " ".join(f"{key} {metrics[key]:.1f}" for key in ("R@1", "R@5", "R@10", "MdR", "MnR"))
        for way, metrics in evaluation.plain.items()
    ]
    return f"epoch {evaluation.epoch}, step {evaluation.step}{loss}: " + "; ".join(ways)


def provenance(
    *, started: str, spec_digest: str, weights_digest: str, device: torch.device, rehearsal: Rehearsed | None
) -> Provenance:
    """Source revision, packages, machine, times."""
    revision, dirty = source_revision(SOURCE)
    return Provenance(
        petvr=__version__,
        git_revision=revision,
        git_dirty=dirty,
        packages=package_versions(),
        hardware=hardware(device),
        started=started,
        finished=utc_now(),
        spec_digest=spec_digest,
        weights_digest=weights_digest,
        rehearsal=rehearsal,
    )


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def package_versions() -> dict[str, str]:
    """Versions of what a number may depend on, without importing any of it."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def hardware(device: torch.device) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "device": device.type,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "numerics": numerics(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {"gpu": properties.name, "gpu_memory_bytes": properties.total_memory, "cuda": torch.version.cuda}
    return facts


def source_revision(source: Path) -> tuple[str | None, bool | None]:
    """(revision, whether tracked or new files differ) of the checkout that holds `source`; (None, None) without one.

    A package installed inside some other project's checkout does not take its revision: `source` must be tracked.
    """

    def git(*arguments: str) -> str | None:
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        try:
            finished = subprocess.run(
                ["git", "-C", str(source), *arguments], capture_output=True, text=True, timeout=20, env=environment
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return finished.stdout.strip() if finished.returncode == 0 else None

    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    revision, status = git("rev-parse", "HEAD"), git("status", "--porcelain", "--", ".")
    return revision, None if status is None else bool(status)


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
