"""What a rule's jobs inherit from the workflow that starts them."""

import os
import sys
from pathlib import Path

import pytest

import petvr
from petvr import environment


@pytest.fixture
def variables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in (("PETVR_CONFIG", ""), ("PATH", "/bin"), ("PYTHONPATH", "/mine")):
        monkeypatch.setenv(name, value)
    return os.environ


def test_an_installed_petvr_leaves_the_path_of_packages_alone(variables):
    environment.export({}, None, other_python=False)
    assert variables["PYTHONPATH"] == "/mine" and variables["PATH"] == f"{Path(sys.executable).parent}:/bin"


def test_the_python_of_a_conda_environment_gets_petvr_and_none_of_the_packages_beside_it(variables):
    for _ in range(2):
        environment.export({}, None, other_python=True)
    folder = Path(variables["PYTHONPATH"].split(":")[0])
    assert [path.name for path in folder.iterdir()] == ["petvr"]
    assert (folder / "petvr").resolve() == Path(petvr.__file__).parent


def test_a_checkout_wins(variables, tmp_path):
    environment.export({}, tmp_path / "src", other_python=True)
    assert variables["PYTHONPATH"] == f"{tmp_path / 'src'}:/mine"
