"""Both wheels, built once from the files git knows, as whoever clones the repository would build them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from linked_environment import PLUGIN, ROOT


def _wheel(source: Path, out: Path) -> Path:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    built = subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", str(out), str(source)], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = out.iterdir()
    return wheel


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """A copy of the repository: the files git knows or would add, links as links."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("no git repository here")
    folder = tmp_path_factory.mktemp("sources")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    return folder


@pytest.fixture(scope="session")
def plugin_wheel(sources, tmp_path_factory):
    return _wheel(sources / PLUGIN, tmp_path_factory.mktemp("plugin"))


@pytest.fixture(scope="session")
def petvr_wheel(sources, tmp_path_factory):
    return _wheel(sources, tmp_path_factory.mktemp("petvr"))
