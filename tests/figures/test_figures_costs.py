"""R@1 against time and memory: from the runs, or from what `petvr costs` wrote, relative to full tuning."""

import pytest
from table_factory import measure, put, result, row, spec, table
from test_figures_draw import collected

from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.papers.figures import parse_quantity
from petvr.report import figures

HEAD = "method,papers,backbone,similarity,step_gflops,activations_mb"
RATIOS = [parse_quantity("time ratio"), parse_quantity("memory ratio")]


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


def ratios(measured, costs=None):
    """Row -> (time, memory), full tuning being 1; None where a row has neither."""
    figure = collected(measured, x=["time ratio", "memory ratio"], relative_to="CLIP4Clip")
    object.__setattr__(figure, "costs", costs)
    values = {one.name: [figure.value(one, ratio) for ratio in RATIOS] for one in figure.rows}
    return {name: tuple(value and value.mean for value in each) for name, each in values.items()}, figure


def test_without_a_file_time_and_memory_are_those_of_the_runs(small):
    values, figure = ratios(small)
    assert values == {"CLIP4Clip": (1.0, 1.0), "VoP": (pytest.approx(10 / 16), 0.75)}
    labels = [axis.get_xlabel() for axis in figures.compose(figure).axes]
    assert labels == ["training time of a pair, full tuning = 1", "peak memory, full tuning = 1"]


def test_a_file_of_petvr_costs_is_counted_or_where_it_has_them_measured(small, tmp_path):
    counted = [f"{HEAD}", "full,rap,vit-b-32,mean_pool,300,2000", "vop,vop,vit-b-32,mean_pool,240,1500"]
    file = tmp_path / "costs.csv"
    file.write_text("\n".join(counted) + "\n")
    costs = figures.read_costs(file)
    assert ratios(small, costs)[0]["VoP"] == (0.8, 0.75)
    assert "counted" in costs.label("time") and "activations" in costs.label("memory")
    ends = (",step_ms,peak_mb", ",90,500", ",60,300")
    file.write_text("\n".join(line + end for line, end in zip(counted, ends, strict=True)) + "\n")
    costs = figures.read_costs(file)
    assert ratios(small, costs)[0]["VoP"] == (pytest.approx(60 / 90), 0.6) and "measured" in costs.label("time")
    file.write_text("\n".join([*counted[:2], "vop@tokens=4,vop,vit-b-32,mean_pool,240,1500"]) + "\n")
    assert ratios(small, figures.read_costs(file))[0] == {"CLIP4Clip": (1.0, 1.0), "VoP": (None, None)}
    for time in ("fast", "nan", "-1", "1e400"):
        file.write_text("\n".join([HEAD, counted[1], f"vop,vop,vit-b-32,mean_pool,{time},1500"]) + "\n")
        with pytest.raises(PetvrError, match=rf"row 3: step_gflops: '{time}' given, allowed: .*written by petvr costs"):
            figures.read_costs(file)
    file.write_text(f"{HEAD}\nvop@tokens,vop,vit-b-32,mean_pool,1,1500\n")
    with pytest.raises(PetvrError, match="row 2: method: 'vop@tokens' is not"):
        figures.read_costs(file)
    file.write_text("method,backbone\nfull,tiny\n")
    with pytest.raises(PetvrError, match=r"no column 'similarity'.*written by petvr costs"):
        figures.read_costs(file)


def test_before_anything_ran_the_printed_values_stand_hollow(tmp_path, small):
    rows = [one.planned for one in small.rows]
    printed = {(0, "t2v:R@1"): "43.1", (1, "t2v:R@1"): "41.0", (0, "params_M"): "119.8", (1, "params_M"): "0.1"}
    figure = collected(measure(table(rows, printed), tmp_path / "nothing"))
    drawn = figures.compose(figure)
    faces = [line.get_markerfacecolor() for line in drawn.axes[0].lines if line.get_marker() not in ("None", "_", "|")]
    assert faces == ["none", "none"] and "hollow" in drawn._supxlabel.get_text()
