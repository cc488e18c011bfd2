"""What the workflow's jobs inherit: its configuration, its source folder, its Python."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

HEAD = "PETVR_HEAD"
SOURCES = Path(".snakemake") / "petvr-source"


def export(config: dict[str, Any], checkout: Path | None, other_python: bool) -> None:
    """Let `python -m petvr` in a job see the very configuration the workflow was started with.

    PETVR_CONFIG holds it, --config on the command line included. PYTHONPATH begins with the `src/` of a checkout, PATH
    with the Python that runs Snakemake. Where jobs run by an `other_python` (--sdm conda puts it in front), an
    installed petvr is named by a folder that holds nothing else: the packages beside it are of Snakemake's Python.
    """
    os.environ["PETVR_CONFIG"] = json.dumps(config, default=str)
    os.environ["PATH"] = leading("PATH", Path(sys.executable).parent)
    if checkout or other_python:
        os.environ["PYTHONPATH"] = leading("PYTHONPATH", checkout or _linked_alone(Path(__file__).parent))


def _linked_alone(package: Path) -> Path:
    SOURCES.mkdir(parents=True, exist_ok=True)
    link, new = SOURCES / package.name, SOURCES / f"{package.name}.{os.getpid()}"
    new.symlink_to(package)
    os.replace(new, link)  # another Snakemake may read it
    return SOURCES.resolve()


def name_head() -> None:
    """Call it in the workflow's main process, whose host its jobs then know."""
    os.environ[HEAD] = socket.gethostname()


def on_the_head() -> bool:
    """Whether this runs where the workflow does; without a workflow: outside a Slurm job."""
    head = os.environ.get(HEAD)
    return head == socket.gethostname() if head else "SLURM_JOB_ID" not in os.environ


def inside_a_rule() -> bool:
    return "PETVR_CONFIG" in os.environ


def leading(variable: str, folder: Path) -> str:
    """The value of a variable that lists folders, with `folder` in front."""
    rest = [part for part in os.environ.get(variable, "").split(os.pathsep) if part and part != str(folder)]
    return os.pathsep.join([str(folder), *rest])
