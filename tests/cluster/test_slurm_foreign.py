"""Workflows as others write them, none of which knows this executor: through Slurm they give what a local run gives.

And the tests that Snakemake itself has for executor plugins.
"""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from heads import WorkflowFolder
from job_driver import HANG_S

from snakemake_executor_plugin_submitit import ExecutorSettings

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
FOREIGN = Path(__file__).with_name("foreign")
NAMES = sorted(path.stem for path in FOREIGN.glob("*.smk"))
STORAGE = importlib.util.find_spec("snakemake_storage_plugin_fs") and shutil.which("rsync")
INSTALLED = [name for name in NAMES if name != "storage" or STORAGE]
# a default for memory that is small enough for many jobs at once here
USUAL = ["--default-resources", "mem_mb=300", "runtime=10"]


def folder_with(path: Path, name: str) -> WorkflowFolder:
    shutil.copytree(FOREIGN, path, dirs_exist_ok=True)
    return WorkflowFolder(path, (FOREIGN / f"{name}.smk").read_text())


def results(folder: Path) -> dict[str, str]:
    """What the workflow left; of a benchmark only that it is there."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".snakemake" not in path.parts]
    own = {path.relative_to(FOREIGN) for path in FOREIGN.rglob("*")} | {Path("Snakefile")}
    named = {path.relative_to(folder): path for path in files}
    kept = {name: path for name, path in named.items() if name not in own and not name.name.startswith("head-")}
    return {str(name): "" if name.suffix == ".tsv" else path.read_text() for name, path in kept.items()}


def test_foreign_workflows_give_what_a_local_run_gives(slurm, tmp_path):
    """All at once on one Slurm."""
    assert len(INSTALLED) >= 10
    folders = {name: folder_with(tmp_path / name, name) for name in INSTALLED}
    heads = {name: folder.head(*USUAL) for name, folder in folders.items()}
    wrong = {}
    try:
        for name in INSTALLED:
            there = folder_with(tmp_path / "local" / name, name).path
            command = [sys.executable, "-m", "snakemake", "--cores", "2", "--nolock", "--scheduler", "greedy", *USUAL]
            here = subprocess.run(command, cwd=there, capture_output=True, text=True)
            assert here.returncode == 0, here.stderr[-3000:]
            code = heads[name].wait(HANG_S)
            if code or results(folders[name].path) != results(there) or not results(there):
                wrong[name] = (folders[name].log.read_text()[-3000:], results(folders[name].path), results(there))
    finally:
        for head in heads.values():
            head.kill()
    assert not wrong, "\n".join(f"--- {name}\n{log}\n{got}\n{expected}" for name, (log, got, expected) in wrong.items())
    assert all(folders[name].ledger().submissions for name in INSTALLED)  # none of them ran here after all


@pytest.mark.parametrize("name", ["test_simple_workflow", "test_group_workflow"])
def test_snakemakes_own_tests_of_an_executor(slurm, tmp_path, name):
    """Of its test base for plugins: a simple workflow and one with groups."""
    base = pytest.importorskip("snakemake.common.tests").TestWorkflowsLocalStorageBase

    class Own(base):
        def get_executor(self) -> str:
            return "submitit"

        def get_executor_settings(self) -> ExecutorSettings:
            return ExecutorSettings()

    getattr(Own(), name)(tmp_path)
