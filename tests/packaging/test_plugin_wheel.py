"""The executor's wheel, installed alone beside Snakemake."""

import shutil
import zipfile

import pytest
from linked_environment import PLUGIN, ROOT, LinkedEnvironment

pytestmark = pytest.mark.slow


def test_it_holds_the_package_its_licence_and_nothing_of_petvr(plugin_wheel):
    names = set(zipfile.ZipFile(plugin_wheel).namelist())
    modules = {f"{PLUGIN.name}/{path.name}" for path in (ROOT / PLUGIN).glob("*.py")}
    information = {name for name in names if ".dist-info/" in name}
    assert names - information == modules | {f"{PLUGIN.name}/py.typed"}
    assert any(name.endswith("licenses/LICENSE") for name in information)


def test_its_own_tests_pass_where_petvr_is_not_installed(plugin_wheel, tmp_path):
    environment = LinkedEnvironment(tmp_path / "venv", {plugin_wheel: "test"})
    absent = environment.run("python", "-c", "import petvr", cwd=tmp_path)
    assert "No module named 'petvr'" in absent.stderr
    shutil.copytree(ROOT / PLUGIN / "tests", (own := tmp_path / "own") / "tests")
    for name in ("CHANGELOG.md", "pyproject.toml"):
        shutil.copy(ROOT / PLUGIN / name, own)
    done = environment.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=own)
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout + done.stderr
