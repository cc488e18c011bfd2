"""Who may import whom (the arrows of the design), and what must stay out of the workflow's parsing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "petvr"
FLOOR = {"errors", "atomic", "spec", "result"}  # every package may use these
ARROWS = {
    "papers": set(),
    "datasets": set(),
    "clip": set(),
    "retrieval": set(),
    "methods": {"clip"},
    "similarity": {"clip"},
    "frames": {"datasets"},
    "download": {"datasets"},
    "manifest": {"datasets", "download", "frames", "layout"},
    "costs": {"clip", "methods", "similarity", "papers"},
    "docs": {"papers", "methods", "similarity", "clip", "costs"},
    "training": {"methods", "similarity", "clip", "frames", "retrieval", "costs", "datasets"},
    "search": {"training", "clip", "frames", "datasets"},
    "tables": {"papers", "layout"},
    "figures": {"papers", "tables", "layout"},
    "tracking": {"papers", "layout"},
    "world": {"datasets", "clip"},
}
PACKAGES = sorted(path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists())


def imported(package: str) -> dict[str, set[str]]:
    """Part of petvr -> the files of `package` that import it."""
    found: dict[str, set[str]] = {}
    for path in (SOURCE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names = [node.module or ""]
                if node.module == "petvr":
                    names = [f"petvr.{alias.name}" for alias in node.names]
            for name in names:
                if name.startswith("petvr."):
                    found.setdefault(name.split(".")[1], set()).add(path.name)
    return found


@pytest.mark.parametrize("package", [name for name in PACKAGES if name != "commands"])
def test_arrows(package):
    assert package in ARROWS, f"package {package} has no arrows: add it to the design and here"
    for target, files in imported(package).items():
        if target != "__version__":
            assert target in FLOOR | ARROWS[package] | {package}, f"petvr.{package} ({files}) imports petvr.{target}"


def test_planning_and_light_packages_load_without_heavy_ones():
    """The Snakefile is parsed once per job: no torch, no transformers, no MLflow, no pandas, no matplotlib."""
    light = "planning, config, cli, status, tables, tracking, figures, frames, methods, similarity, training, world"
    code = f"import sys; from petvr import {light}; print(*(m for m in sys.modules if '.' not in m))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "transformers", "mlflow", "pandas", "matplotlib", "av", "decord"} & set(out.split())


def test_the_executor_plugin_knows_nothing_of_petvr():
    plugin = SOURCE.parent / "snakemake_executor_plugin_submitit"
    for path in plugin.rglob("*.py"):
        assert "petvr" not in path.read_text(encoding="utf-8"), path
