"""Figures show the table's numbers, the same bytes for the same results, and never fail for want of them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from table_factory import measure, planned, put, result, row, spec, table

from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.report import figures
from petvr.report.figures import points
from petvr.report.figures.label import mathtext


@pytest.fixture
def small(tmp_path):
    results = tmp_path / "results"
    zero = spec("zero_shot", 0, train=False)
    made = result(zero, 30.0)
    made = made.model_copy(
        update={
            "evaluations": made.evaluations[:1],
            "selected": {"best_on_test": 0, "last": 0},
            "cost": made.cost.model_copy(update={"trainable": 0}),
        }
    )
    made.write(Layout(results).result(zero))
    rows = [
        row("Full", put(results, "full", [44.0, 45.0, 49.0]), group="Fine-tune"),
        row("VoP^F", put(results, "vop", [40.0]), group="Prompt"),
        row("zero-shot", planned("zero_shot", 1, train=False), group="Fine-tune"),
        row("missing", planned("bias", 2), group="Prompt"),
    ]
    return measure(table(rows), results)


def test_points_are_the_numbers_of_the_table(small):
    ((_, rows),) = points.panels(small).items()
    assert [row.name for row in rows] == ["Full", "VoP^F", "zero-shot"]
    full = rows[0]
    assert full.trainable() == 0.12288
    chosen = full.chosen("t2v", "R@1", None)
    assert (chosen.mean, chosen.n) == (46.0, 3) and chosen.std == pytest.approx(7**0.5)
    course = full.course("t2v", "R@1")
    assert [(epoch, value.mean) for epoch, value in course] == [(0, 10.0), (1, 46.0), (2, 45.5)]
    assert [(epoch, value.mean) for epoch, value in full.losses()] == [(1, 2.0), (2, 1.5)]
    assert full.chosen("t2v", "R@1", "last").mean == 45.5


def test_the_same_results_give_the_same_bytes(small, tmp_path):
    first = [path.read_bytes() for path in figures.write_figures(small, tmp_path / "a")]
    second = [path.read_bytes() for path in figures.write_figures(small, tmp_path / "b")]
    assert len(first) == 2 and first == second
    for content in first:
        assert content.lstrip().startswith(b"<?xml") and b"<svg" in content


def test_png_and_names(small, tmp_path):
    (path,) = figures.write_figures(small, tmp_path, kinds=["scatter"], suffix="png")
    assert path == tmp_path / "vop" / "table_3.scatter.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_workflow_finds_them_where_layout_says(small, tmp_path):
    layout = Layout(tmp_path)
    wanted = [layout.figures / f"vop/table_3.{kind}.svg" for kind in ("scatter", "curves")]
    assert figures.write_figures(small, layout.figures) == wanted


def test_without_results_the_figure_says_so(tmp_path):
    empty = measure(table([row("Full", planned("full", 2))]), tmp_path)
    for path in figures.write_figures(empty, tmp_path):
        assert re.search(rb"nothing measured yet", path.read_bytes())


def test_unknown_kinds_and_formats_are_named(small, tmp_path):
    with pytest.raises(PetvrError, match=r"unknown figure 'scater'.*did you mean 'scatter'"):
        figures.write_figures(small, tmp_path, kinds=["scater"])
    with pytest.raises(PetvrError, match="unknown figure format 'gif'"):
        figures.write_figures(small, tmp_path, suffix="gif")


def test_names_with_dollars_and_carets():
    assert mathtext("VoP^F+P") == r"VoP$^{\mathrm{F+P}}$"
    assert mathtext("5$") == r"5\$"


def test_importing_costs_no_matplotlib():
    heavy = {"matplotlib", "mlflow", "torch", "jinja2"}
    imports = "from petvr.report import figures, tables, tracking; import sys"
    code = f"{imports}; print({heavy} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "set()"
