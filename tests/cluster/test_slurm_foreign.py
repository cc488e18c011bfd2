"""A workflow as others write theirs, which knows nothing of this executor: through Slurm it gives what it should.

And the tests that Snakemake itself has for executor plugins.
"""

import importlib.util
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from heads import WorkflowFolder

from snakemake_executor_plugin_submitit import ExecutorSettings

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
FOREIGN = Path(__file__).with_name("foreign")
STORAGE = importlib.util.find_spec("snakemake_storage_plugin_fs") and shutil.which("rsync")
# a default for memory that is small enough for many jobs at once here
USUAL = ["--default-resources", "mem_mb=300", "runtime=10"]

WORDS = ["it's two words,größe", 'x=1;y$2 say "hi"']
LEFT = {
    # checkpoint
    "parts/7.txt": "part 7\n",
    "double/7.txt": "part 7\npart 7\n",
    "all.txt": "part 7\npart 7\n",
    # groups, modules: the letters are gone
    "a.count": "3\n",
    "inner/b.count": "3\n",
    "named.txt": "1\n",
    # pipe, service: what went through the pipe and what the service left are gone
    "upper.txt": "LINE 1\nLINE 2\nLINE 3\n",
    "answer.txt": "42\n",
    # python
    "cube/3.txt": "27\n",
    "folder/copy.txt": "27\nfolder",
    "folder.log": "done",
    # retries
    "grown.txt": "600\n",
    # scatter
    **{f"part/{i}-of-3.txt": f"{i}\n" for i in (1, 2, 3)},
    **{f"square/{i}-of-3.txt": f"{i * i}\n" for i in (1, 2, 3)},
    "sum.txt": "1+4+9\n",
    # shadow: no scratch.txt
    **{f"many/file {i}.txt": "" for i in range(25)},
    "plain.txt": "25\n",
    "plain.log": "logged\n",
    "time.bench.tsv": "",
    # wildcards
    **{f"copy/{words}.txt": f"{words}\n{words}\n" for words in WORDS},
}
STORED = {"stored/first.txt": "stored\n", "stored/last.txt": "STORED\n"}
# rule, or group and its rules -> jobs of the cluster; a pipe's and a service's without the number it begins with
JOBS = {"split": 1, "double": 1, "chain_count_letters": 1, "chain_grouped_count_grouped_letters_named": 1}
JOBS |= {"ask_serve": 1, "lines_upper": 1, "cube": 1, "folder": 1, "grow": 2, "parts_add_square": 1, "plain": 1}
JOBS |= {"copy": 2} | ({"last": 1} if STORAGE else {})


def results(folder: Path) -> dict[str, str]:
    """What the workflow left; of a benchmark only that it is there."""
    files = [path for path in folder.rglob("*") if path.is_file() and ".snakemake" not in path.parts]
    own = {path.relative_to(FOREIGN) for path in FOREIGN.rglob("*")}
    named = {path.relative_to(folder): path for path in files if not path.name.startswith((".snakemake", "head-"))}
    kept = {name: path for name, path in named.items() if name not in own}
    return {str(name): "" if name.suffix == ".tsv" else path.read_text() for name, path in kept.items()}


def test_a_foreign_workflow_leaves_what_it_should(slurm, tmp_path):
    shutil.copytree(FOREIGN, tmp_path, dirs_exist_ok=True)
    folder = WorkflowFolder(tmp_path, (FOREIGN / "Snakefile").read_text())
    said = folder.run(*USUAL, **({"storage": 1} if STORAGE else {}))
    assert results(tmp_path) == LEFT | (STORED if STORAGE else {}), said[-3000:]
    named = [one.name for one in folder.ledger().submissions.values()]
    assert Counter(re.sub(r"^[0-9a-f-]{36}_", "", name) for name in named) == JOBS  # else something ran here


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
