"""Mean, spread, best and second best, and the comparison to a printed value: numbers worked out by hand."""

from __future__ import annotations

import math
from html import unescape

import numpy as np
import pytest
from table_factory import RUNS, cell, measure, planned, put, result, row, spec, table

from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.papers import Printed, Row
from petvr.papers.plan import Plan
from petvr.report.tables import FORMATS, frame, measure_table, render
from petvr.report.tables.estimate import Estimate, compare_to_paper, estimate, levene_p, pooled_deviation, ranks
from petvr.result import StoredFile
from petvr.spec import Source


def entry(built, index: int, key: str):
    return next(entry for entry in built.rows[index].entries if entry.column.key == key)


def test_the_deviation_is_the_sample_deviation(tmp_path):
    built = measure(table([row("VoP", put(tmp_path, "vop", [44.0, 45.0, 49.0]))]), tmp_path)
    ours = entry(built, 0, "t2v:R@1").ours
    assert ours.mean == pytest.approx(46.0)
    assert ours.std == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert ours.n == 3


def test_equal_seeds_have_exactly_no_spread():
    assert estimate([0.1, 0.1, 0.1]) == Estimate(0.1, 0.0, 3)


def test_a_single_seed_has_a_value_and_no_deviation(tmp_path):
    built = measure(table([row("VoP", put(tmp_path, "vop", [44.0]))]), tmp_path)
    assert entry(built, 0, "t2v:R@1").ours == Estimate(44.0, None, 1)


def test_missing_failed_and_stale_seeds_are_not_averaged_over(tmp_path):
    runs = put(tmp_path, "vop", [40.0, 42.0, 99.0, 99.0]) + planned("vop", 5)[4:]
    Layout(tmp_path).result(spec("vop", 2)).write_text("{")
    stale = result(spec("vop", 3), 99.0)
    stale.provenance.spec_digest = "older"
    stale.write(Layout(tmp_path).result(spec("vop", 3)))
    built = measure(table([row("VoP", runs)]), tmp_path)
    ours = entry(built, 0, "t2v:R@1").ours
    assert (ours.mean, ours.n) == (41.0, 2)
    states = [seed.state for seed in built.rows[0].seeds["msrvtt-7k"]]
    assert states == ["ok", "ok", "failed", "stale", "missing"]


@pytest.mark.parametrize("rule, expected", [(None, 44.0), ("best_on_test", 44.0), ("last", 41.0)])
def test_every_selection_rule_can_be_shown(tmp_path, rule, expected):
    run = spec("vop", 0)
    result(run, 44.0, last=41.0).write(Layout(tmp_path).result(run))
    built = measure(table([row("VoP", planned("vop", 1))]), tmp_path, rule=rule)
    assert entry(built, 0, "t2v:R@1").ours.mean == expected


def test_a_row_with_dual_softmax_shows_those_scores(tmp_path):
    runs = put(tmp_path, "vop", [44.0])
    built = measure(table([row("VoP", runs), row("VoP*", runs, evaluate="dsl")]), tmp_path)
    assert [entry(built, line, "t2v:R@1").ours.mean for line in (0, 1)] == [44.0, 46.0]


def test_a_rule_the_result_does_not_have_fails_the_cell(tmp_path):
    run = spec("vop", 0)
    result(run, 44.0, selected={"last": 2}).write(Layout(tmp_path).result(run))
    built = measure(table([row("VoP", planned("vop", 1))]), tmp_path)
    (seed,) = built.rows[0].seeds["msrvtt-7k"]
    assert seed.state == "failed" and "best_on_test" in seed.reason
    assert entry(built, 0, "t2v:R@1").ours is None


def test_high_recall_and_low_rank_are_best(tmp_path):
    rows = [row(str(r1), put(tmp_path, f"m{r1:.0f}", [r1])) for r1 in (40.0, 44.0, 42.0)]
    built = measure(table(rows), tmp_path)
    for key in ("t2v:R@1", "t2v:MnR"):
        assert [entry(built, line, key).rank for line in range(3)] == [0, 1, 2]
    assert [entry(built, line, "params_M").rank for line in range(3)] == [0, 0, 0]


def test_blocks_are_ranked_apart_and_absent_rows_not_at_all(tmp_path):
    rows = [
        row("a", put(tmp_path, "a", [40.0]), block="B/32"),
        row("b", put(tmp_path, "b", [41.0]), block="B/32"),
        row("c", put(tmp_path, "c", [50.0]), block="B/16"),
        row("d", planned("d", 1), block="B/32"),
    ]
    built = measure(table(rows), tmp_path)
    assert [entry(built, line, "t2v:R@1").rank for line in range(4)] == [2, 1, 0, 0]


@pytest.mark.parametrize(
    "values, best, expected",
    [
        ([44.04, 43.96, 43.0], "max", [1, 1, 2]),  # both read 44.0: ties share
        ([2.0, 2.0, 2.0], "min", [0, 0, 0]),  # nothing to tell apart
        ([5.0, None, 4.0], "min", [2, 0, 1]),
        ([5.0, None], "max", [0, 0]),
        ([5.0, 4.0], None, [0, 0]),
    ],
)
def test_ranks(values, best, expected):
    assert ranks(values, best, 1) == expected


@pytest.mark.parametrize(
    "mean, std, n, printed, best, pooled, expected",
    [
        (44.0, 0.3, 3, "45.5", "max", None, "inside"),  # 1.5 <= 4.303 * 0.3 * sqrt(4/3) + 0.05 = 1.54
        (44.0, 0.3, 3, "45.6", "max", None, "worse"),
        (46.0, 0.1, 3, "44.0", "max", None, "better"),
        (15.0, 0.1, 3, "16.3", "min", None, "better"),  # a lower mean rank is better
        (44.0, 0.3, 3, "44.7", "max", (0.3, 24), "inside"),  # 0.7 <= 2.064 * 0.3 * sqrt(4/3) + 0.05 = 0.76
        (44.0, 0.3, 3, "44.8", "max", (0.3, 24), "worse"),
        (44.0, 0.3, 2, "99.0", "max", (0.3, 24), "open"),  # two seeds say nothing
        (44.0, None, 1, "44.0", "max", None, "open"),
    ],
)
def test_comparison_to_a_printed_value(mean, std, n, printed, best, pooled, expected):
    assert compare_to_paper(Estimate(mean, std, n), Printed(float(printed), None, printed), best, pooled) == expected


def test_the_deviation_is_pooled_over_rows_that_agree_in_it():
    alike = [[44.0, 45.0, 46.0], [40.0, 40.0, 43.0], [41.0]]
    deviation, freedom = pooled_deviation(alike)
    assert (deviation, freedom) == (pytest.approx(math.sqrt((2 * 1 + 2 * 3) / 4)), 4)
    rng = np.random.default_rng(0)
    assert pooled_deviation([rng.normal(40, sd, 30).tolist() for sd in (0.1, 5.0)]) is None
    assert pooled_deviation([[1.0, 3.0], [2.0, 5.0], [4.0, 4.5]]) == (pytest.approx((6.625 / 3) ** 0.5), 3)
    assert pooled_deviation([[44.0, 45.0]]) is None and pooled_deviation([[44.0] * 3] * 2) is None


def test_levene_is_that_of_scipy():
    from scipy.stats import levene

    rng = np.random.default_rng(0)
    for spread in (1.0, 4.0):
        groups = [rng.normal(40, sd, size).tolist() for sd, size in ((1.0, 3), (spread, 5), (1.0, 4))]
        assert levene_p(groups) == pytest.approx(levene(*groups).pvalue, rel=1e-9)
    assert math.isnan(levene_p([[1.0, 3.0], [2.0, 4.0]])) and levene_p([[1.0, 3.0], [2.0, 5.0]]) == 0


def test_a_single_seed_is_never_best_beside_rows_of_several(tmp_path):
    values = {"a": [40.0, 41.0], "b": [50.0], "c": [43.0, 44.0]}
    built = measure(table([row(name, put(tmp_path, name, r1s)) for name, r1s in values.items()]), tmp_path)
    assert [entry(built, line, "t2v:R@1").rank for line in range(3)] == [2, 0, 1]
    runs = put(tmp_path, "zero_shot", [43.1], train=False)
    untrained = Row(name="d", cells={"msrvtt-7k": cell(runs, train=False)})
    built = measure(table([*built.planned.rows, untrained]), tmp_path)
    assert [entry(built, line, "t2v:R@1").rank for line in range(4)] == [0, 0, 1, 2], "its other seeds are the same"


def test_another_rule_than_the_papers_gives_no_verdict(tmp_path):
    planned_table = table([row("VoP", put(tmp_path, "vop", [44.0, 45.0, 46.0]))], {(0, "t2v:R@1"): "44.6"})
    ours, other = (entry(measure(planned_table, tmp_path, rule=rule), 0, "t2v:R@1") for rule in (None, "last"))
    assert (ours.comparison, other.comparison) == ("inside", None)
    assert other.difference == pytest.approx(44.5 - 44.6)
    assert other.incomparable == "selected by last, the paper by best_on_test"


def test_intervals_letters_and_the_difference_to_a_row(tmp_path):
    """1,000 queries of which all rows miss the same ones first: differences are exact up to the seeds."""
    values = {"a": [40.0, 40.5, 41.0], "b": [40.5, 41.0, 40.0], "c": [60.0, 60.5, 61.0], "d": [62.0]}
    rows = [row(name, put(tmp_path, name, r1s)) for name, r1s in values.items()]
    built = measure(table(rows), tmp_path, against="b")
    a, b, c, d = (entry(built, line, "t2v:R@1").uncertainty for line in range(4))
    assert (a.letters, b.letters, c.letters, d.letters) == ("b", "b", "a", "")
    assert b.versus is None and (a.versus.value, c.versus.value) == (pytest.approx(0), pytest.approx(20))
    assert c.differs and not a.differs and c.versus.low > 15 and d.versus_p is None
    half = 1.96 * math.sqrt(0.405 * 0.595 / 999) * 100  # of 405 of 1,000 queries
    assert a.queries == (pytest.approx(40.5 - half, abs=0.02), pytest.approx(40.5 + half, abs=0.02))
    assert a.both[0] < a.queries[0] and d.both is None
    assert built.versus == ("b",) and entry(built, 0, "params_M").uncertainty is None
    assert measure(table(rows), tmp_path).versus == ("a",)
    assert measure(table(rows).model_copy(update={"against": "c"}), tmp_path).versus == ("c",)
    with pytest.raises(PetvrError, match="allowed: a, b, c, d"):
        measure(table(rows), tmp_path, against="e")


def test_intervals_stay_within_what_a_metric_can_be(tmp_path):
    """Two seeds far apart: one degree of freedom, 12.7 deviations on either side."""
    rows = [row(name, put(tmp_path, name, r1s)) for name, r1s in {"low": [2.0, 6.0], "high": [91.0, 98.0]}.items()]
    built = measure(table(rows), tmp_path)
    low, high = (entry(built, line, "t2v:R@1").uncertainty.both for line in range(2))
    assert low[0] == 0 and 6 < low[1] < 60 and high[1] == 100 and 40 < high[0] < 91


def test_a_row_without_ranks_has_no_interval_and_says_so(tmp_path):
    runs = put(tmp_path, "vop", [44.0, 45.0])
    (Layout(tmp_path).run(runs[1]) / "ranks.npz").write_bytes(b"PK")
    built = measure(table([row("VoP", runs)]), tmp_path)
    assert entry(built, 0, "t2v:R@1").uncertainty is None
    assert "No intervals: " in render(built, "md") and "cannot be read" in render(built, "md")


def test_parameters_agree_when_all_printed_digits_do(tmp_path):
    runs = put(tmp_path, "vop", [44.0, 45.0])  # 122,880 trained
    for text, expected in {"0.1": "inside", "0.12": "inside", "0.13": None}.items():
        built = measure(table([row("VoP", runs)], {(0, "params_M"): text}), tmp_path)
        assert entry(built, 0, "params_M").comparison == expected


def test_beside_a_printed_size_stands_ours_counted_alike_and_what_trains_in_a_column_of_its_own(tmp_path):
    columns = ("params_M", "params_percent", "t2v: R@1")
    asked = table([row("VoP", put(tmp_path, "vop", [44.0]))], {(0, "params_percent"): "0.103"}, columns)
    built = measure(asked, tmp_path)
    assert [column.metric for column in built.columns] == ["params_M", "params_percent", "trains_M", "R@1"]
    share, trains = entry(built, 0, "params_percent"), entry(built, 0, "trains_M")
    assert (share.ours.mean, share.comparison) == (0.1025, "inside") and trains.ours.mean == 0.12288
    other = measure(asked, tmp_path, count=lambda *_: (0.2, "computed 0.200, printed 0.103: a slip"))
    assert entry(other, 0, "params_percent").difference == pytest.approx(0.097)
    for suffix in FORMATS:
        assert "computed 0.200, printed 0.103: a slip" in render(other, suffix)
    uncounted = measure(asked, tmp_path, count=None)
    assert entry(uncounted, 0, "params_percent").ours is None, "never another quantity in its place"


def test_a_synthetic_world_shows_the_printed_value_and_no_difference(tmp_path):
    runs = put(tmp_path, "vop", [44.0, 45.0], data={"world": "synthetic"})
    shown = entry(measure(table([row("VoP", runs)], {(0, "t2v:R@1"): "44.6"}), tmp_path), 0, "t2v:R@1")
    assert (shown.printed.text, shown.difference, shown.comparison) == ("44.6", None, None)


@pytest.mark.parametrize("test, difference, printed", [(995, -0.1, True), (970, None, True), (900, None, False)])
def test_incomplete_test_sets_lose_the_difference_then_the_printed_value(tmp_path, test, difference, printed):
    runs = put(tmp_path, "vop", [44.0, 45.0], data={"test_videos": test})
    shown = entry(measure(table([row("VoP", runs)], {(0, "t2v:R@1"): "44.6"}), tmp_path), 0, "t2v:R@1")
    assert shown.difference == (None if difference is None else pytest.approx(difference))
    assert (shown.printed is not None) == printed


def test_sizes_are_counted_before_anything_has_run(tmp_path):
    rows = [row("VoP", put(tmp_path, "vop", [44.0])), row("LoRA", planned("lora", 2))]
    built = measure(table(rows, {(1, "params_M"): "0.49"}, ("params_M", "t2v: R@1")), tmp_path)
    assert [entry(built, 1, key).ours for key in ("params_M", "trains_M", "t2v:R@1")] == [
        Estimate(0.12288, None, 0),
        Estimate(0.13, None, 0),
        None,
    ]
    assert entry(built, 1, "params_M").difference == pytest.approx(0.12288 - 0.49)
    assert entry(built, 0, "trains_M").ours.mean == 0.12288, "what ran is measured"
    assert "| 0.123 | 0.130 | – | missing |" in render(built, "md")


def test_beside_another_backbone_s_size_the_printed_one_is_for_orientation(tmp_path):
    """The demo's rows before anything has run: the counter says that the two do not compare."""
    asked = table([row("VoP", planned("vop", 1))], {(0, "params_M"): "0.1"})
    shown = entry(measure(asked, tmp_path, count=lambda *_: (0.012, "")), 0, "params_M")
    assert (shown.ours.mean, shown.difference, shown.comparison) == (0.012, None, None)


def test_gains_are_those_of_our_own_rows(tmp_path):
    rows = [row("w/o", put(tmp_path, "a", [44.0, 45.0])), row("Ours", put(tmp_path, "b", [44.6]), gain_over="w/o")]
    built = measure(table(rows, {(1, "t2v:R@1"): Printed(45.4, None, "45.4", "45.4(↑0.5)")}), tmp_path)
    assert entry(built, 1, "t2v:R@1").gain == pytest.approx(0.1) and entry(built, 0, "t2v:R@1").gain is None
    assert "| 44.6 ↑0.1 |" in render(built, "md") and "45.4 ↑0.5" in render(built, "md")
    assert r"44.6 $\uparrow$0.1" in render(built, "tex")


def test_tuned_guesses_are_compared_with_the_row_as_guessed_and_all_three_stand_together(tmp_path):
    source = Source(origin="tuned", where="best of 9 trials on validation, at the grid's edge; a file")
    choice = {"variant": {"tune": "guesses"}, "tuned": {"recipe.lr_new": 1e-3}, "sources": {"recipe.lr_new": source}}
    rows = [
        row("Full", put(tmp_path, "full", [50.0, 50.5])),
        row("VoP", put(tmp_path, "vop", [44.0, 45.0])),
        row("VoP (guesses tuned)", put(tmp_path, "vop", [54.0, 55.0], recipe={"lr_new": 1e-3}, **choice),
            as_guessed="VoP"),
    ]  # fmt: skip
    built = measure(table(rows, {(1, "t2v:R@1"): "44.9"}), tmp_path, intervals=True)
    tuned = entry(built, 2, "t2v:R@1")
    assert tuned.gain == tuned.uncertainty.versus.value == pytest.approx(10) and tuned.uncertainty.differs
    assert entry(built, 1, "t2v:R@1").uncertainty.versus.value == pytest.approx(-5.75), "the others with full tuning"
    lines = [line.split(" | ")[0].strip("| ") for line in render(built, "md").splitlines() if line.startswith("| ")]
    assert lines[4:] == ["VoP", "↳ paper", "↳ 95 %", "↳ minus Full", "VoP (guesses tuned)<sup>1</sup>", "↳ 95 %",
                         "↳ minus as guessed"]  # fmt: skip
    assert "| 54.5±0.7 ↑10.0 |" in render(built, "md").replace("**", "")
    note = "as guessed lr_new 0.0001, tuned 0.001, at the grid's edge."
    assert all(note in unescape(render(built, form)).replace(r"\_", "_") for form in ("md", "html", "csv"))
    assert "VoP (guesses tuned), minus as guessed</th>" in render(built, "html")
    versus = frame(built).query("kind == 'aggregate' and metric == 'R@1' and direction == 't2v'").versus_row
    assert list(versus.fillna("")) == ["", "Full", "VoP"]


def test_floor_and_ceiling_are_the_untrained_and_the_fully_tuned_run_of_the_plan(tmp_path):
    runs = {name: put(tmp_path, name, r1s) for name, r1s in {"full": [50.0, 52.0], "zero_shot": [30.0]}.items()}
    cells = {name: cell(each).model_copy(update={"method": name}) for name, each in runs.items()}
    planned_table = table([row("VoP", put(tmp_path, "vop", [44.0, 45.0, 46.0]))])
    plan = Plan(cells, RUNS, {planned_table.id: planned_table}, {})
    built = measure_table(plan, planned_table.id, tmp_path)
    assert built.ends == {("msrvtt-7k", "vit-b-32"): {"untrained": 30.0, "full tuning": 51.0}}
    said = "For comparison, T→V R@1: MSR-VTT-7k vit-b-32 untrained 30.0, full tuning 51.0."
    assert said in render(built, "md")
    assert measure(planned_table, tmp_path).ends == {}  # a plan without them
    cells["full"] = cells["full"].model_copy(update={"paper": "rap"})
    cells["part"] = cells["full"].model_copy(update={"paper": "vop", "setting": {"freeze": 6}})
    other = measure_table(Plan(cells, RUNS, {planned_table.id: planned_table}, {}), planned_table.id, tmp_path)
    assert list(other.ends["msrvtt-7k", "vit-b-32"]) == ["untrained", "full tuning (recipe of rap)"]


def test_a_block_without_the_named_row_is_compared_with_the_row_of_the_same_runs(tmp_path):
    shared, a, b = (
        put(tmp_path, name, [r1, r1 + 0.5, r1 + 1]) for name, r1 in {"s": 40.0, "a": 42.0, "b": 60.0}.items()
    )
    rows = [
        row("R=3", shared, block="R"),
        row("R=1", a, block="R"),
        row("K=1", b, block="K"),
        row("K=3", shared, block="K"),
    ]
    built = measure(table(rows), tmp_path, against="R=3")
    versus = [entry(built, line, "t2v:R@1").uncertainty.versus for line in range(4)]
    assert versus[0] is None and versus[3] is None and built.versus == ("R=3", "K=3")
    assert (versus[1].value, versus[2].value) == (pytest.approx(2), pytest.approx(20))


def test_what_a_method_costs_and_the_rate_it_was_given_are_columns(tmp_path):
    """Of every seed's result; a rate only where something trains with it, marked at an end of its grid."""
    runs = put(tmp_path, "lora", [40.0, 41.0])
    edge = Source(origin="tuned", where="best of 9 trials on validation, at the grid's edge; locks/tuning/lora.json")
    for seed, run in enumerate(runs):
        run = run.model_copy(update={"sources": {"recipe.lr_new": edge}})
        cost = result(run, 40.0).cost.model_copy(
            update={"forward_flops": 1.23e11, "video_ms": 2.0 + seed, "text_ms": 0.25, "pairs_per_second": 100.0 + seed}
        )
        stored = {"adapter.safetensors": StoredFile(bytes=1_966_080, sha256="0" * 64)}
        result(run, 40.0, cost=cost, files=stored).write(Layout(tmp_path).result(run))
    columns = ("t2v: R@1", "trains_M adapter_MB forward_gflops pairs_s video_ms text_ms lr_clip lr_new lr_head")
    built = measure(table([row("LoRA", runs)], columns=columns, intervals=True), tmp_path)
    (shown,) = [line for line in render(built, "md").splitlines() if line.startswith("| LoRA")]
    cells = ["0.123", "1.97", "123.0", "100±0.71", "2.50±0.71", "0.250", "–", "1e-4§", "–"]
    assert [each.strip() for each in shown.split("|")][3:-2] == cells
    assert "| ↳ 95 % |" in render(built, "md"), "a table may ask for intervals itself"
    for suffix in ("html", "tex", "csv"):
        assert "§" in render(built, suffix)


def test_what_does_not_train_has_letters_though_it_ran_once(tmp_path):
    still = put(tmp_path, "zero_shot", [20.0], train=False)
    rows = [row("Full", put(tmp_path, "full", [44.0, 44.0])), row("LoRA", put(tmp_path, "lora", [44.0, 44.0]))]
    zero = row("Zero-shot", still)
    zero = zero.model_copy(update={"cells": {k: c.model_copy(update={"train": False}) for k, c in zero.cells.items()}})
    built = measure(table([*rows, zero]), tmp_path)
    assert [one.entries[2].uncertainty.letters for one in built.rows] == ["a", "a", "b"]
