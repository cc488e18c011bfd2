"""What the workflow's jobs inherit: its configuration, its source folder, its Python."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def export(config: dict[str, Any], source: Path) -> None:
    """Let `python -m petvr` in a job see the very configuration the workflow was started with.

    PETVR_CONFIG holds it, --config on the command line included. PYTHONPATH begins with `source`, and PATH with the
    Python that runs Snakemake (an environment of --sdm conda comes before it).
    """
    os.environ["PETVR_CONFIG"] = json.dumps(config, default=str)
    for variable, folder in (("PYTHONPATH", source), ("PATH", Path(sys.executable).parent)):
        os.environ[variable] = leading(variable, folder)


def inside_a_rule() -> bool:
    return "PETVR_CONFIG" in os.environ


def leading(variable: str, folder: Path) -> str:
    """The value of a variable that lists folders, with `folder` in front."""
    rest = [part for part in os.environ.get(variable, "").split(os.pathsep) if part and part != str(folder)]
    return os.pathsep.join([str(folder), *rest])
