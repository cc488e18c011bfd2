"""A fifth paper is a folder: nothing else names it; and a broken folder harms no other.

That the workflow trains its runs and fills its tables: tests/workflow/test_workflow_run.py.
"""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]

CALLS = """
import contextlib, io, json, sys
from petvr import cli
done = []
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = cli.main(arguments)
    done.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(done))
"""


class Copy:
    """The sources in a folder of their own, with `vop` a second time under the name `fifth`."""

    def __init__(self, folder):
        self.folder, self.papers = folder, folder / "src" / "petvr" / "papers"
        shutil.copy(ROOT / "config.yaml", folder)
        shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("*.pyc.*", "*.egg-info"))
        self.add_paper()

    def add_paper(self):
        shutil.copytree(self.papers / "vop", self.papers / "fifth")
        self.edit("recipe.yaml", "short_title: VoP", "short_title: Fifth")

    def edit(self, file, old, new, paper="fifth"):
        path = self.papers / paper / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def call(self, *arguments, module="petvr"):
        environment = {key: value for key, value in os.environ.items() if key != "PETVR_CONFIG"}
        environment |= {"PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *(["-m", module] if module else []), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.folder, env=environment)

    def calls(self, *commands):
        """Exit code, stdout and stderr of each command, in one process: importing takes longest."""
        done = self.call("-c", CALLS, json.dumps(commands), module=None)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def petvr(self, *arguments):
        done = self.call(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return Copy(tmp_path_factory.mktemp("copy"))


@pytest.fixture
def own_copy(tmp_path):
    return Copy(tmp_path)


@pytest.fixture
def damaged(copy):
    """The copy whose fifth paper may be damaged: it is as it was afterwards."""
    yield copy
    shutil.rmtree(copy.papers / "fifth")
    copy.add_paper()


@pytest.mark.slow
def test_its_runs_are_planned(copy):
    (_, cells, _), (_, plan, _) = copy.calls(["cells"], ["plan"])
    cells = list(csv.DictReader(io.StringIO(cells)))
    mine = {cell["id"].removeprefix("fifth/") for cell in cells if cell["paper"] == "fifth"}
    assert mine == {
        cell["id"].removeprefix("vop/")
        for cell in cells
        if cell["paper"] == "vop" and any(table.startswith("vop/") for table in cell["tables"].split())
    }
    assert "fifth/table_6" in plan


@pytest.mark.slow
def test_its_parameters_are_counted_as_it_counts(copy):
    lines = list(csv.DictReader(io.StringIO(copy.petvr("params", "--format", "csv"))))
    by_paper = {
        name: [{key: value for key, value in line.items() if key != "paper"} for line in lines if line["paper"] == name]
        for name in ("vop", "fifth")
    }
    assert by_paper["fifth"] == by_paper["vop"] and len(by_paper["fifth"]) > 100


@pytest.mark.slow
def test_its_tables_figures_and_pages_are_made(copy):
    assert "fifth/table_3.partial.md" in copy.petvr("table", "fifth/table_3")
    text = (copy.folder / "results" / "tables" / "fifth" / "table_3.partial.md").read_text(encoding="utf-8")
    assert text.startswith("### Fifth, table 3: ") and "| ↳ paper | 119.8 (equal) |" in text
    assert "| VoP | 0.123 | 0.103 | 0.123 | – |" in text, "its count stands there before any training"
    assert len(copy.petvr("figure", "fifth/table_3").splitlines()) == 6
    copy.petvr("docs", "papers")
    assert "| `fifth` | VoP: " in (copy.folder / "docs" / "papers.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_its_methods_page_names_it(copy):
    copy.petvr("docs", "methods")
    section = (copy.folder / "docs" / "methods.md").read_text(encoding="utf-8").split("\n## vop_c\n")[1]
    assert "fifth 2, 3, 4, 5, 6" in section.split("\n## ")[0]


DAMAGE = {  # what is done to the folder -> what is told of it, with the file
    "recipe": (lambda copy: copy.edit("recipe.yaml", "epochs: {value: 5", "epochs: {value: five"), "base: epochs"),
    "rule": (lambda copy: copy.edit("recipe.yaml", "when: {method: [full]}", "wenn: {method: [full]}"), "'when'"),
    "table": (lambda copy: copy.edit("tables.yaml", "columns: *t2v", "colums: *t2v"), "'columns'"),
    "metric": (lambda copy: copy.edit("tables.yaml", "t2v: R@1 R@5", "t2v: R@1 R@6"), "unknown metric 'R@6'"),
    "row": (
        lambda copy: copy.edit("tables.yaml", "method: vop_f+vop_c}", "paper: vopp, method: vop_f+vop_c}"),
        "'vopp'",
    ),
    "number": (lambda copy: copy.edit("printed.csv", ",40.5,,40.5,", ",4O.5,,40.5,"), "row 4"),
    "file": (lambda copy: (copy.papers / "fifth" / "tables.yaml").unlink(), "no tables.yaml"),
    "empty": (lambda copy: shutil.rmtree(copy.papers / "fifth") or (copy.papers / "fifth").mkdir(), "no recipe.yaml"),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.slow
def test_a_broken_folder_is_told_once_and_the_others_go_on(damaged, kind):
    damage, what = DAMAGE[kind]
    damage(damaged)
    for name, asked in {"paper": {"papers": ["fifth"]}, "table": {"tables": ["fifth/table_3"]}}.items():
        (damaged.folder / f"{name}.yaml").write_text(yaml.safe_dump(asked))
    (code, out, err), *alone = damaged.calls(["plan"], ["-c", "paper.yaml", "plan"], ["-c", "table.yaml", "plan"])
    assert code == 0, err
    (line,) = err.splitlines()
    assert line.startswith("petvr: warning: paper fifth is left out: ") and "fifth" in line and what in line
    assert "vop/table_3" in out and "fifth" not in out
    for code, _, err in alone:
        assert code == 2 and what in err.splitlines()[-1], err


@pytest.mark.slow
def test_rows_that_are_trained_by_a_broken_papers_recipe_say_so(own_copy):
    own_copy.edit("recipe.yaml", "epochs: {value: 5", "epochs: {value: five", paper="vop")
    done = own_copy.call("table", "rap/table_2")
    assert done.returncode == 0, done.stderr
    text = (own_copy.folder / "results" / "tables" / "rap" / "table_2.partial.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith("| VoP^P")]
    assert "recipe cannot be read: vop" in row
    assert own_copy.call("params").returncode == 0
