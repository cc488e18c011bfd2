"""Constraints, pyproject and the conda environment name the same packages; what an installation says of a machine."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def constraints() -> dict[str, str]:
    lines = (ROOT / "envs" / "constraints.txt").read_text().splitlines()
    return {normal(name): version for name, version in (line.split("==") for line in lines if line[0] != "#")}


PLUGIN = "snakemake-executor-plugin-submitit"  # from this repository


def requirements(*extras: str) -> set[str]:
    """Packages that petvr and the executor name, with these extras of petvr."""
    project, plugin = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
        for folder in ("", "src/snakemake_executor_plugin_submitit")
    )
    wanted = [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]
    names = {normal(re.split(r"[<>=;\s\[]", text, maxsplit=1)[0]) for text in wanted + plugin["dependencies"]}
    return names - {PLUGIN}


def test_every_requirement_is_pinned():
    assert requirements("workflow", "mlflow", "serve", "youtube", "test") <= constraints().keys()


def test_no_pin_asks_for_cuda():
    assert not [name for name in constraints() if name.startswith(("nvidia", "triton", "cuda"))]


def test_conda_environment_is_in_step():
    listed = yaml.safe_load((ROOT / "envs" / "petvr.yaml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    pins = {normal(name): version for name, version in (line.split("==") for line in pip)}
    wanted = {name for name in requirements("workflow", "mlflow", "serve") if "-interface-" not in name}
    assert pins == {name: constraints()[name] for name in wanted}  # the interfaces come with Snakemake


def test_both_locks_hold_every_requirement_in_the_pinned_version_with_a_hash():
    pins, wanted = constraints(), requirements("workflow", "mlflow", "serve")
    for build in ("cpu", "cuda"):
        text = (ROOT / "envs" / f"lock-{build}.txt").read_text().replace("\\\n", "")
        locked = [line for line in text.splitlines() if line[0] not in "#-"]
        assert all(re.fullmatch(r"\S+==\S+( +--hash=sha256:[0-9a-f]{64})+", line) for line in locked)
        versions = dict(line.split()[0].split("==") for line in locked)
        assert wanted <= versions.keys()
        assert {name: version.partition("+")[0] for name, version in versions.items() if name in pins} == {
            name: pins[name] for name in versions if name in pins
        }
        assert any(name.startswith("nvidia-") for name in versions) == (build == "cuda")
        assert versions["torch"].endswith("+cpu") == (build == "cpu")


def test_the_list_of_licences_names_what_is_locked():
    rows = re.findall(r"^\| ([a-z0-9.-]+) \| (\S+) \| \S", (ROOT / "docs" / "licences.md").read_text(), re.MULTILINE)
    locked = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", (ROOT / "envs" / "lock-cpu.txt").read_text(), re.MULTILINE)
    assert dict(rows) == dict(locked)


def test_containers_name_one_pinned_base_and_files_that_are_there():
    docker, apptainer = ((ROOT / "envs" / name).read_text() for name in ("Dockerfile", "petvr.def"))
    (base,) = set(re.findall(r"(?:BASE=|From: )(\S+@sha256:[0-9a-f]{64})$", docker + apptainer, re.MULTILINE))
    assert base.startswith("python:3.11.")
    copied = re.findall(r"^    (\S+) /source/\1$", apptainer, re.MULTILINE)
    assert {"src", "workflow", "envs"} <= set(copied) and all((ROOT / name).exists() for name in copied)


@pytest.fixture
def machine(tmp_path):
    """A machine of fakes: what stands in `bin` comes first, and the virtual environment would be made in `home`."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "home").mkdir()
    return tmp_path


def fake(machine, name: str, script: str) -> str:
    path = machine / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def install(machine, **variables) -> subprocess.CompletedProcess:
    environment = os.environ | {"PATH": f"{machine / 'bin'}:{os.environ['PATH']}", "PETVR_TORCH": "cpu"}
    environment |= {"VENV": str(machine / "home" / "venv"), "PYTHON": sys.executable, **variables}
    return subprocess.run(["bash", ROOT / "envs/install.sh"], env=environment, capture_output=True, text=True)


OLD = """case "$*" in *version_info*) exit 1;; *) echo Python 3.9.2;; esac"""
BARE = f"""case "$*" in *ensurepip*) exit 1;; *) exec {sys.executable} "$@";; esac"""
FULL = """echo head; echo /dev/root 100000000 99000000 1999999 99% /"""


@pytest.mark.parametrize(
    "name, script, variables, line",
    [
        ("none", "", {"PYTHON": "python-that-is-not-there"}, "no python-that-is-not-there here: apt install python3"),
        ("old", OLD, {"PYTHON": "old"}, "needs Python >= 3.11, 'old' is Python 3.9.2"),
        ("bare", BARE, {"PYTHON": "bare"}, "'bare' has no venv module: apt install python3-venv"),
        ("df", FULL, {}, "has 1 GB free, the cpu packages take 3"),
        ("df", FULL, {"PETVR_TORCH": "cuda"}, "has 1 GB free, the cuda packages take 10"),
        ("none", "", {"PETVR_TORCH": "gpu"}, "PETVR_TORCH is 'gpu'; allowed: cpu, cuda"),
    ],
)
def test_what_the_machine_lacks_is_said_before_anything_is_made(machine, name, script, variables, line):
    fake(machine, name, script)
    done = install(machine, **variables)
    assert done.returncode == 2 and done.stdout == ""
    assert line in done.stderr and done.stderr.count("\n") == 1
    assert not list((machine / "home").iterdir())


def test_pip_is_heard_where_it_fails_and_nowhere_else(machine):
    """A virtual environment whose pip takes torch, warns all the while, and has nothing else."""
    has_no_torch = 'case "$*" in *importlib.metadata*) exit 1;; esac'
    pip = 'echo "WARNING: ignored" >&2; case "$*" in *editable*) echo "ERROR: no av" >&2; exit 1;; esac'
    fake(machine, "../home/venv/bin/python", f"{has_no_torch}\n{pip}")
    fake(machine, "../home/venv/bin/pip", "")
    done = install(machine)
    assert done.returncode == 2
    assert done.stdout.splitlines() == [
        f"petvr: installing torch=={constraints()['torch']}, cpu build",
        "petvr: installing the pinned packages (about 1 GB)",
    ]
    assert "ERROR: no av\npetvr: pip failed" in done.stderr
    fake(machine, "../home/venv/bin/python", f"{has_no_torch}\necho 'WARNING: ignored' >&2")
    done = install(machine)
    assert (done.returncode, done.stderr) == (0, "")
