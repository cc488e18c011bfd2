"""What a table says of the data it stands on, and what the data allow it to show."""

import pytest
from table_factory import cell, measure, put, result, row, table

from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.papers import Row
from petvr.report.tables import measure_table, render
from petvr.report.tables.caption import caption, title
from petvr.result import data_class

PRINTED = {(0, "t2v:R@1"): "44.6"}


def one(tmp_path, data=None, **changes):
    return measure(table([row("VoP", put(tmp_path, "vop", [44.0, 45.0], data=data))], PRINTED), tmp_path, **changes)


def told(built):
    return next(line for line in caption(built) if line.startswith("MSR-VTT-7k"))


def difference(built):
    return next(entry.difference for entry in built.rows[0].entries if entry.column.key == "t2v:R@1")


def test_classes_by_hand():
    """(present, official) of test and training; the limits of docs/data_policy.md."""
    by_hand = [
        (1000, 7010, "A"), (1000, 6975, "A"), (1000, 6974, "B"), (999, 7010, "B"), (990, 6870, "B"), (989, 7010, "C"),
        (1000, 6869, "C"), (950, 6660, "C"), (949, 7010, "D"), (1000, 6659, "D"),
    ]  # fmt: skip
    assert [data_class((test, 1000), (train, 7010)) for test, train, _ in by_hand] == [kind for *_, kind in by_hand]


def test_all_is_there(tmp_path):
    built = one(tmp_path, {"manifest": "abc", "frozen": True}, locks={"msrvtt-7k": "abc"})
    assert told(built) == (
        "MSR-VTT-7k: 1,000 of 1,000 test and 7,010 of 7,010 training videos, 1,000 test captions; class A (exact); "
        "lock abc."
    )
    assert difference(built) == pytest.approx(-0.1)


def test_what_is_left_out_is_counted_named_and_compared(tmp_path):
    lost = {
        "test_videos": 994, "train_videos": 7000, "manifest": "abc",
        "missing": [*"pqrstu", *(f"t{n}" for n in range(10))],
        "why": {"test": {"missing_permanent": 5, "undecodable": 1}, "train": {"gated": 10}},
    }  # fmt: skip
    built = one(tmp_path, lost)
    assert "994 of 1,000 (99.4 %) test and 7,000 of 7,010 (99.9 %) training videos" in told(built)
    assert "left out: test 5 removed, 1 undecodable (p, q, r, s, t, ...), training 10 behind a login" in told(built)
    assert told(built).endswith("class B (comparable); data abc, not frozen.")
    assert difference(built) == pytest.approx(-0.1)


def test_class_c_has_a_mark_and_no_difference(tmp_path):
    built = one(tmp_path, {"test_videos": 960})
    text = render(built, "md")
    assert "†" in told(built) and "class C" in told(built)
    assert difference(built) is None and "44.6" in text and "44.5±0.7†" in text


def test_class_d_stands_alone(tmp_path):
    built = one(tmp_path, {"test_videos": 900})
    assert title(built).endswith("[subset, not comparable]") and difference(built) is None
    assert "44.6" not in render(built, "md")


def test_results_of_other_data_than_is_frozen_are_said_to_be_so(tmp_path):
    built = one(tmp_path, {"manifest": "abc"}, locks={"msrvtt-7k": "def"})
    assert "WARNING, MSR-VTT-7k was measured on data abc, and def is frozen." in caption(built)
    assert "data abc, not frozen" in told(built)


def test_cells_of_one_table_stand_on_one_state_of_the_data(tmp_path):
    """Another file under the name of a video does not change the split; its results must not stand side by side."""
    rows = [
        row("VoP", put(tmp_path, "vop", [44.0], data={"manifest": "abc"})),
        row("Full", put(tmp_path, "full", [43.0], data={"manifest": "def"})),
    ]
    with pytest.raises(PetvrError, match=r"msrvtt-7k: .* has data abc, .* has data def"):
        measure(table(rows), tmp_path)
    rows[1] = row("Full", put(tmp_path, "full", [43.0]))  # made before results knew the state of their data
    measure(table(rows), tmp_path)


def test_a_row_whose_data_cannot_be_had(tmp_path):
    rows = [
        row("VoP", put(tmp_path, "vop", [44.0, 45.0])),
        Row(name="Full", cells={"lsmdc": cell(dataset="lsmdc", unavailable="not run: needs a login")}),
    ]
    built = measure(table(rows), tmp_path, unavailable={"lsmdc": "needs a login (ask the owners)"})
    assert built.completeness == (1, 1)
    assert "LSMDC: not run here: needs a login (ask the owners)." in caption(built)
    for suffix in ("md", "tex", "html", "csv"):
        assert "not run: needs a login" in render(built, suffix, tmp_path)
    nothing = measure(table(rows[1:]), tmp_path)
    assert "LSMDC: not run here: needs a login." in caption(nothing)


def test_a_result_from_before_is_shown_although_its_data_are_gone(tmp_path):
    """From the plan: runs without a result become `not run`, those with one stay."""
    from petvr.papers.plan import expand

    plan = expand(tables=["mv_adapter/table_3"], seeds=(0,))
    runs = list(plan.tables["mv_adapter/table_3"].runs)
    built = measure_table(plan, "mv_adapter/table_3", tmp_path, not_run=dict.fromkeys(runs[1:], "needs a login"))
    cells = [cell for row in built.planned.rows for cell in row.cells.values() if cell.method]
    cells = [cell for cell in cells if cell.unavailable in ("", "not run: needs a login")]
    assert [cell.runs for cell in cells] == [(runs[0],)] + [()] * (len(runs) - 1)
    assert [cell.unavailable for cell in cells] == [""] + ["not run: needs a login"] * (len(runs) - 1)


def test_a_run_that_may_have_measured_nothing_is_told(tmp_path):
    runs = put(tmp_path, "vop", [44.0])
    still = result(runs[0], 10.0, last=10.0)
    still.evaluations[2].train_loss = 0.0
    still.write(Layout(tmp_path).result(runs[0]))
    (line,) = (line for line in caption(measure(table([row("VoP", runs)], PRINTED), tmp_path)) if runs[0].id in line)
    assert line.startswith("WARNING") and "a loss of 0" in line and "ranks alike at every evaluation" in line
