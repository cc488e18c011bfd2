"""Where a result comes from: source revision, packages, machine, times."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from petvr import __version__
from petvr.result import Provenance

PACKAGES = ("torch", "numpy", "safetensors", "tokenizers", "transformers", "decord", "av", "pydantic")
SOURCE = Path(__file__).resolve().parents[1]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def make(*, started: str, spec_digest: str, weights_digest: str, device: torch.device) -> Provenance:
    revision, dirty = git(SOURCE)
    return Provenance(
        petvr=__version__,
        git_revision=revision,
        git_dirty=dirty,
        packages=packages(),
        hardware=hardware(device),
        started=started,
        finished=now(),
        spec_digest=spec_digest,
        weights_digest=weights_digest,
    )


def packages() -> dict[str, str]:
    """Versions of what a number may depend on, without importing any of it."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware(device: torch.device) -> dict[str, Any]:
    found: dict[str, Any] = {
        "device": device.type,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"gpu": properties.name, "gpu_memory_bytes": properties.total_memory, "cuda": torch.version.cuda}
    return found


def git(source: Path) -> tuple[str | None, bool | None]:
    """(revision, whether tracked or new files differ) of the checkout that holds `source`; (None, None) without one.

    A package installed inside some other project's checkout does not take its revision: `source` must be tracked.
    """

    def ask(*arguments: str) -> str | None:
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        try:
            done = subprocess.run(
                ["git", "-C", str(source), *arguments], capture_output=True, text=True, timeout=20, env=environment
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if ask("ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    revision, status = ask("rev-parse", "HEAD"), ask("status", "--porcelain", "--", ".")
    return revision, None if status is None else bool(status)


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
