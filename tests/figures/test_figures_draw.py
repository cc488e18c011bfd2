"""Figures show the numbers of the results, are readable with 40 rows, and never fail for want of results."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.text import Text
from table_factory import cell, measure, planned, put, result, row, spec, table

from petvr import papers
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.papers.figures import FigureSpec, parse_quantity, read_figures, table_figures
from petvr.papers.plan import Plan
from petvr.report import figures
from petvr.report.figures.draw import CSV_COLUMNS, values_of
from petvr.report.figures.label import Spot, mathtext, place_labels
from petvr.report.figures.points import front
from petvr.report.tables import result_reader

R1 = parse_quantity("t2v R@1")


def collected(measured, count=None, runs=None, **changes):
    """The rows of a figure of one measured table; `runs`: those of the plan."""
    name = measured.planned.name
    values = {"title": "A figure", "kind": "points", "rows": [{"table": name}], **changes}
    read = result_reader(measured.results)
    shown = FigureSpec.model_validate(values)
    return figures.collect_rows(
        Plan({}, runs or {}, {}, {}), "vop", "figure_9", shown, {name: measured}, read, count=count
    )


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
    return measure(table(rows, {(0, "t2v:R@1"): "45.3", (3, "t2v:R@1"): "41.0", (3, "params_M"): "0.1"}), results)


def texts_of(drawn):
    """(text, box) of every visible text that says something."""
    from matplotlib.text import Text

    drawn.draw_without_rendering()
    renderer = drawn.canvas.get_renderer()
    texts = [text for text in drawn.findobj(Text) if text.get_visible() and text.get_text().strip()]
    ticks = [
        (tick, axis.get_view_interval()) for axes in drawn.axes for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
    ]  # fmt: skip
    beyond = {label for tick, (low, high) in ticks if not low <= tick.get_loc() <= high
              for label in (tick.label1, tick.label2)}  # fmt: skip
    texts = [text for text in texts if text not in beyond]  # those matplotlib keeps and does not draw
    boxes = [(text.get_text(), Text.get_window_extent(text, renderer)) for text in texts]
    return [(text, box) for text, box in boxes if box.width and box.height]


def faults(drawn):
    """Texts that cover another one, or leave the figure."""
    texts, whole = texts_of(drawn), drawn.bbox
    overlapping = [
        (a, b)
        for (a, one), (b, other) in itertools.combinations(texts, 2)
        if min(one.x1, other.x1) - max(one.x0, other.x0) > 1 and min(one.y1, other.y1) - max(one.y0, other.y0) > 1
    ]
    outside = [
        text
        for text, box in texts
        if box.x0 < -1 or box.y0 < -1 or box.x1 > whole.width + 1 or box.y1 > whole.height + 1
    ]
    return overlapping, outside


def test_values_are_the_numbers_of_the_table(small):
    figure = collected(small, y=["t2v R@1", "v2t RSum"], relative_to="Full")
    full = figure.rows[0]
    ours = figure.value(full, R1)
    assert (ours.mean, ours.n) == (46.0, 3) and ours.std == pytest.approx(7**0.5)
    assert figure.printed(full, R1) == 45.3
    assert figure.value(full, parse_quantity("params_M")).mean == 0.12288
    assert [(epoch, value.mean) for epoch, value in full.epochs(R1)] == [(0, 10.0), (1, 46.0), (2, 45.5)]
    assert [(epoch, value.mean) for epoch, value in full.losses()] == [(1, 2.0), (2, 1.5)]
    vop = figure.rows[1]
    assert figure.value(vop, parse_quantity("t2v R@1 ratio")).mean == pytest.approx(40 / 46)
    assert figure.printed(vop, R1) is None and figure.value(figure.rows[3], R1) is None
    lines = [dict(zip(CSV_COLUMNS, line, strict=True)) for line in values_of(figure)[1:]]
    shown = next(line for line in lines if (line["row"], line["quantity"]) == ("Full", "t2v R@1"))
    assert (shown["value"], shown["seeds"], shown["printed"], shown["dataset"]) == (46.0, 3, 45.3, "msrvtt-7k")
    assert {line["quantity"] for line in lines} == {"params_M", "t2v R@1", "v2t RSum"}


def test_the_loss_is_drawn_by_step_where_training_recorded_it(small):
    run = spec("full", 0)
    every_step = np.linspace(5, 1, 500, dtype=np.float32)
    np.save(Layout(small.results).run(run) / "loss.npy", every_step)
    course = collected(small, kind="training").rows[0].losses()
    first, last = course[0], course[-1]
    # 20 steps are two epochs; each of at most 200 points is the mean of its steps
    assert len(course) == 169 and (first[0], first[1].mean) == (0.3, pytest.approx(every_step[:3].mean()))
    assert last[1].mean == pytest.approx(every_step[498:].mean())
    (Layout(small.results).run(run) / "loss.npy").write_bytes(b"no array")
    with pytest.raises(PetvrError, match=r"loss.npy: not a .npy file"):
        collected(small, kind="training").rows[0].losses()


def test_sizes_are_counted_as_the_paper_counts_them(small):
    """A run's own count has what its paper leaves out: the two would not stand on one axis."""
    asked = []

    def count(table, cell, recipe, metric, printed):
        asked.append((table.name, cell.runs[0].split("/")[3], metric))
        return (7.5, "") if "/full/" in cell.runs[0] else None

    figure = collected(small, size="params_M", count=count)
    sizes = [figure.value(one, parse_quantity("params_M")) for one in figure.rows]
    assert sizes[0].mean == 7.5 and sizes[1].mean == 0.12288, "where nothing can be counted, the run's own"
    assert ("table_3", "full", "params_M") in asked
    asked.clear()
    collected(small, x=["t2v R@5"], count=count)
    assert not asked, "counting imports torch"


def test_of_rows_under_one_name_the_best_is_shown_and_the_others_stay_in_the_values(tmp_path):
    rows = [
        row("4 tokens", put(tmp_path, "vop", [40.0], setting={"tokens": 4})),
        row("8 tokens", put(tmp_path, "vop", [42.0], setting={"tokens": 8})),
        row("Full", put(tmp_path, "full", [44.0])),
    ]
    measured = measure(table(rows), tmp_path)
    choice = [
        {"table": "table_3", "rows": ["4 tokens", "8 tokens"], "as": "VoP"},
        {"table": "table_3", "rows": ["Full"]},
    ]
    figure = collected(measured, kind="profile", rows=choice)
    assert [(one.name, figure.value(one, R1).mean) for one in figure.rows] == [("VoP", 42.0), ("Full", 44.0)]
    assert (values_of(figure)[-1][5], values_of(figure)[-1][-1]) == (40.0, False)
    # mean ranks are better when smaller; what is best may be said apart from what is drawn
    other = collected(measured, kind="profile", rows=choice, best_by="t2v MnR", values=["v2t R@5"])
    assert [other.value(one, R1).mean for one in other.rows] == [42.0, 44.0]
    assert {line[3] for line in values_of(other)[1:]} == {"params_M", "t2v R@1", "v2t R@5"}


def test_beside_the_best_of_one_name_stands_what_the_paper_prints_of_it_in_the_figures_order(tmp_path):
    rows = [row("VoP", put(tmp_path, "vop", [42.0])), row("Full", put(tmp_path, "full", [44.0]))]
    runs = put(tmp_path, "vop", [50.0], setting={"tokens": 4})
    plan = Plan({"o": cell(runs, setting={"tokens": 4}, used_in="vop/tokens")}, {run.id: run for run in runs}, {}, {})
    chosen = [{"table": "table_3", "rows": [name], "as": name} for name in ("VoP", "Full")]
    values = {"title": "A figure", "kind": "profile", "rows": chosen, "optional": ["tokens"]}
    # the cells of a table made by hand are all of the method vop
    rows[1] = rows[1].model_copy(
        update={"cells": {"msrvtt-7k": rows[1].cells["msrvtt-7k"].model_copy(update={"method": "full"})}}
    )
    measured = measure(table(rows, {(0, "t2v:R@1"): "41.5"}), tmp_path)
    read = result_reader(tmp_path)
    figure = figures.collect_rows(plan, "vop", "f", FigureSpec.model_validate(values), {"table_3": measured}, read)
    assert [(one.name, figure.value(one, R1).mean) for one in figure.rows] == [("VoP", 50.0), ("Full", 44.0)]
    assert [figure.printed(one, R1) for one in figure.rows] == [41.5, None]


@pytest.mark.parametrize(("kind", "names"), [("profile", ["RAP"]), ("modulation", ["RAP", "RAP, factorised=false"])])
def test_an_optional_run_is_a_candidate_of_a_chart_and_has_a_place_in_a_picture(tmp_path, kind, names):
    """RAP's figure 1 shows its method with and without low rank: neither is the better one of two."""
    usual = row("#1", put(tmp_path, "vop", [42.0]))
    runs = put(tmp_path, "vop", [40.0], setting={"factorised": False})
    other = cell(runs, setting={"factorised": False}, used_in="vop/figure_1_top")
    read = result_reader(tmp_path)
    values = {"title": "A figure", "kind": kind, "rows": [{"table": "table_3", "rows": ["#1"], "as": "RAP"}]}
    shown = FigureSpec.model_validate(values | {"optional": ["figure_1_top"]})
    plan = Plan({"other": other}, {run.id: run for run in runs}, {}, {})
    tables = {"table_3": measure(table([usual]), tmp_path)}
    figure = figures.collect_rows(plan, "vop", "figure_1_top", shown, tables, read)
    assert [one.name for one in figure.rows] == names


def test_a_line_says_which_printed_point_is_whose(small):
    (panel,) = figures.compose(collected(small)).axes
    ends = [line.get_xydata().tolist() for line in panel.lines if line.get_linewidth() == 0.7]
    assert ends == [[[0.12288, 46.0], [0.12288, 45.3]]], "of Full, which alone is measured and printed"


def test_printed_values_do_not_stand_beside_a_synthetic_world(tmp_path):
    rows = [row("Full", put(tmp_path, "full", [44.0], data={"world": "synthetic"}))]
    figure = collected(measure(table(rows, {(0, "t2v:R@1"): "43.1"}), tmp_path))
    assert figure.printed(figure.rows[0], R1) == 43.1 and figure.drawn_printed(figure.rows[0], R1) is None
    assert any("[synthetic world]" in text for text, _ in texts_of(figures.compose(figure)))


@pytest.mark.parametrize("kind", ["points", "profile", "training"])
@pytest.mark.parametrize("count", [2, pytest.param(24, marks=pytest.mark.slow)])
def test_no_text_covers_another_or_leaves_the_figure(tmp_path, kind, count):
    names = [f"CLIP4Clip* / freeze {n} layers" for n in range(count)]
    rows = []
    for number, name in enumerate(names):
        runs = put(tmp_path, "vop", [40 + number % 7 / 10, 41 + number % 5], setting={"tokens": number})
        rows.append(row(name, runs, group=f"group {number % 3}"))
    measured = measure(table(rows, {(n, "t2v:R@1"): f"{40 + n % 6}" for n in range(count)}), tmp_path)
    drawn = figures.compose(collected(measured, kind=kind, y=["t2v R@1"], title="All settings of all methods " * 3))
    overlapping, outside = faults(drawn)
    assert not overlapping and not outside
    said = " ".join(text.replace("\n", " ") for text, _ in texts_of(drawn))
    assert all(name in said for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_name_without_a_line_stands_at_its_own_mark(seed):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(3, 3))
    FigureCanvasAgg(drawn)
    axis = drawn.subplots()
    points = np.random.default_rng(seed).normal(0, 0.05, (12, 2))  # crowded: a seventh of the panel
    axis.set(xlim=(-0.4, 0.4), ylim=(-0.4, 0.4))
    left_out = place_labels(drawn, [(axis, [Spot(x, y, f"name {i}", 6) for i, (x, y) in enumerate(points)])])
    marks, texts = axis.transData.transform(points), axis.texts
    assert len(texts) == 12 - left_out and any(text.arrow_patch for text in texts)
    for text in texts:
        box = Text.get_window_extent(text)
        nearest = [np.linalg.norm(mark - np.clip(mark, box.min, box.max)) for mark in marks]
        own = int(text.get_text().split()[1])
        assert text.arrow_patch or nearest[own] <= min(nearest) + 0.01, text


def test_the_line_to_a_name_runs_over_no_other_mark():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(4, 4))
    FigureCanvasAgg(drawn)
    axis = drawn.add_axes((0, 0, 1, 1))
    axis.set(xlim=(-144, 144), ylim=(-144, 144))  # in points
    around = [(11, 9), (15, -8), (-15, 8), (-15, -8), (0, -12)]  # on every near place; (11, 9) on the first line too
    spots = [Spot(0, 0, "name", 4), *(Spot(x, y, "", 3) for x, y in around)]
    assert place_labels(drawn, [(axis, spots)]) == 0
    (text,) = axis.texts
    assert text.arrow_patch and text.xyann == (10, -13)


@pytest.mark.slow
def test_the_same_results_give_the_same_bytes_in_every_format(small, tmp_path):
    for kind in ("points", "profile", "training"):
        figure = collected(small, kind=kind)
        first = figures.write_figure(figure, tmp_path / "a")
        second = figures.write_figure(figure, tmp_path / "b")
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
        assert [path.name for path in first] == ["figure_9.svg", "figure_9.png", "figure_9.csv"]
        assert b"<svg" in first[0].read_bytes() and first[1].read_bytes().startswith(b"\x89PNG")
    with pytest.raises(PetvrError, match="unknown figure format 'gif'"):
        figures.write_figure(figure, tmp_path, ["gif"])


@pytest.mark.parametrize("kind", ["points", "profile", "training"])
@pytest.mark.parametrize(("seeds", "words"), [([40.0], "one seed, no error bars"), ([40.0, 44.0], "mean over seeds")])
def test_below_a_figure_stands_what_a_mark_is(tmp_path, kind, seeds, words):
    runs = put(tmp_path, "full", seeds)
    drawn = figures.compose(collected(measure(table([row("Full", runs)]), tmp_path), kind=kind))
    assert any(words in text for text, _ in texts_of(drawn))


def test_without_results_and_printed_values_the_figure_says_so(tmp_path):
    empty = measure(table([row("Full", planned("full", 2))]), tmp_path)
    for kind in ("points", "profile", "training"):
        drawn = figures.compose(collected(empty, kind=kind))
        assert any("nothing measured yet" in text for text, _ in texts_of(drawn)), kind


def test_runs_that_are_not_in_a_figure_are_counted_by_state(tmp_path):
    put(tmp_path, "bias", [40.0], versions={"methods/bias": 0})
    runs = [*put(tmp_path, "full", [44.0]), *planned("bias", 1), *planned("vop", 2)]
    rows = [row("Full", runs[:1]), row("Bias", runs[1:2]), row("VoP", runs[2:])]
    figure = collected(measure(table(rows), tmp_path), runs={run.id: run for run in runs})
    assert figure.lacks == "3 of 4 runs (1 stale, 2 missing)"
    assert any(f"not in it: {figure.lacks}" in text for text, _ in texts_of(figures.compose(figure)))


def test_every_paper_has_readable_figures_and_every_table_its_own():
    ids = {f"{name}/{figure}" for name in papers.published() for figure in papers.load_paper(name).figures}
    assert {"rap/figure_2", "mv_adapter/figure_2a", "mv_adapter/figure_2b", "mv_adapter/figure_4"} <= ids
    assert {f"rap/figure_{name}" for name in ("1_top", "1_down", "4", "5")} <= ids
    assert {f"cross_modal_adapter/figure_{number}" for number in (1, 4, 5, 6, 7, 8)} <= ids
    own = table_figures(papers.load_paper("rap").tables["table_2"])
    assert set(own) == {"table_2.scatter", "table_2.curves"}
    for name in papers.published():  # what is optional runs for a figure, and is named by one
        paper = papers.load_paper(name)
        used = {cell.used_in for cell in paper.optional}
        assert used == {f"{name}/{one}" for figure in paper.figures.values() for one in figure.optional}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "pints"}, "kind"),
        ({"rows": [{"table": "table_30"}]}, "unknown table 'table_30'"),
        ({"rows": [{"table": "table_3", "rows": ["Fulll"]}]}, "unknown row 'Fulll' (did you mean 'Full'?)"),
        ({"y": ["t2v R1"]}, "'t2v R1' is no quantity"),
        ({"optional": ["tokens"]}, "unknown name of optional cells 'tokens'"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_a_faulty_figure_is_named_with_file_and_key(tmp_path, change, words):
    import yaml

    figure = {"title": "A figure", "kind": "points", "rows": [{"table": "table_3"}]} | change
    path = tmp_path / "figures.yaml"
    path.write_text(yaml.safe_dump({"figures": {"figure_1": figure}}))
    with pytest.raises(PetvrError, match=re.escape(words)) as error:
        read_figures(path, {"table_3": table([row("Full", planned("full", 1))])}, [])
    assert str(error.value).startswith(str(path)) and "figure_1" in str(error.value)


def test_names_with_dollars_and_carets():
    assert mathtext("VoP^F+P") == r"VoP$^{\mathrm{F+P}}$"
    assert mathtext("5$") == r"5\$"


def test_importing_costs_no_matplotlib():
    heavy = {"matplotlib", "mlflow", "torch", "jinja2"}
    imports = "from petvr.report import figures, site, tables, tracking; import sys"
    code = f"{imports}; print({heavy} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "set()"


def test_the_front_has_what_none_with_as_few_parameters_beats():
    points = [(1.0, 40.0), (0.5, 39.0), (2.0, 39.5), (0.5, 41.0), (3.0, 45.0), (4.0, 45.0)]
    assert front(points) == [(0.5, 41.0), (3.0, 45.0)]
    assert front([(1.0, 9.0), (2.0, 5.0), (3.0, 6.0)], least=True) == [(1.0, 9.0), (2.0, 5.0)]
