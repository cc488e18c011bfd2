"""R@1 against time and memory: from the runs, or from what `petvr costs` wrote, relative to full tuning."""

import pytest
from table_factory import measure, put, result, row, spec, table

from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.report import figures
from petvr.report.figures import costs

HEAD = "method,papers,backbone,similarity,step_gflops,activations_mb"


def spent(results, method, pairs_per_second, peak):
    """Time and memory of seed 0, put into its result."""
    run = spec(method, 0)
    made = result(run, 40.0)
    cost = made.cost.model_copy(update={"pairs_per_second": pairs_per_second, "peak_memory_bytes": peak})
    made.model_copy(update={"cost": cost}).write(Layout(results).result(run))


@pytest.fixture
def small(tmp_path):
    results = tmp_path / "results"
    rows = [row("CLIP4Clip", put(results, "full", [44.0])), row("VoP", put(results, "vop", [40.0]))]
    spent(results, "full", 10.0, 8_000)
    spent(results, "vop", 16.0, 6_000)
    return measure(table(rows), results)


def test_without_a_file_time_and_memory_are_those_of_the_runs(small):
    (full, vop), axes = costs.collect(small)
    assert axes == ("training time of a pair", "peak memory")
    assert (full.name, full.time, full.memory, full.r1) == ("CLIP4Clip", 1.0, 1.0, 40.0)
    assert (vop.time, vop.memory, vop.printed) == (pytest.approx(10 / 16), 0.75, False)


def test_a_file_of_petvr_costs_is_counted_or_where_it_has_them_measured(small, tmp_path):
    counted = [f"{HEAD}", "full,rap,vit-b-32,mean_pool,300,2000", "vop,vop,vit-b-32,mean_pool,240,1500"]
    file = tmp_path / "costs.csv"
    file.write_text("\n".join(counted) + "\n")
    (_, vop), axes = costs.collect(small, costs.read_costs(file))
    assert (vop.time, vop.memory) == (0.8, 0.75) and "counted" in axes[0] and "activations" in axes[1]
    ends = (",step_ms,peak_mb", ",90,500", ",60,300")
    file.write_text("\n".join(line + end for line, end in zip(counted, ends, strict=True)) + "\n")
    (_, vop), axes = costs.collect(small, costs.read_costs(file))
    assert (vop.time, vop.memory) == (pytest.approx(60 / 90), 0.6) and "measured" in axes[0] + axes[1]
    file.write_text("\n".join([*counted[:2], "vop@tokens=4,vop,vit-b-32,mean_pool,240,1500"]) + "\n")
    assert [point.name for point in costs.collect(small, costs.read_costs(file))[0]] == ["CLIP4Clip"]
    file.write_text("method,backbone\nfull,tiny\n")
    with pytest.raises(PetvrError, match=r"no column 'similarity'.*written by petvr costs"):
        costs.read_costs(file)


def test_before_anything_ran_the_printed_recall_stands_hollow(tmp_path, small):
    rows = [row.planned for row in small.rows]
    names = [row.name for row in rows]
    empty = measure(table(rows, {(0, "t2v:R@1"): "43.1", (1, "t2v:R@1"): "41.0"}), tmp_path / "nothing")
    file = tmp_path / "costs.csv"
    file.write_text(f"{HEAD}\nfull,rap,vit-b-32,mean_pool,300,2000\nvop,vop,vit-b-32,mean_pool,240,1500\n")
    points, _ = costs.collect(empty, costs.read_costs(file))
    assert [(point.name, point.r1, point.printed) for point in points] == [
        (names[0], 43.1, True),
        (names[1], 41.0, True),
    ]
    (path,) = figures.write_figures(empty, tmp_path, ["costs"], costs_from=file)
    again = path.read_bytes()
    figures.write_figures(empty, tmp_path, ["costs"], costs_from=file)
    assert path.read_bytes() == again and b"<svg" in again
    (nothing,) = figures.write_figures(empty, tmp_path / "bare", ["costs"])
    assert b"<svg" in nothing.read_bytes()
