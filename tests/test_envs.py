"""The conda environment, the constraints and pyproject name the same packages and versions."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def constraints() -> dict[str, str]:
    lines = (ROOT / "envs" / "constraints.txt").read_text().splitlines()
    return {normal(name): version for name, version in (line.split("==") for line in lines if line[0] != "#")}


def requirements(extra: str | None = None) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {normal(re.split(r"[<>=;\s\[]", text, maxsplit=1)[0]) for text in wanted}


def test_every_requirement_is_pinned():
    assert requirements() | requirements("test") | requirements("youtube") <= constraints().keys()


def test_no_pin_asks_for_cuda():
    assert not [name for name in constraints() if name.startswith(("nvidia", "triton", "cuda"))]


def test_conda_environment_is_in_step():
    listed = yaml.safe_load((ROOT / "envs" / "petvr.yaml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    pins = {normal(name): version for name, version in (line.split("==") for line in pip)}
    assert pins == {name: constraints()[name] for name in requirements()}
