"""Hours and disk before launch, recomputed here from the split sizes."""

import dataclasses
import json

import pytest

from petvr.clip.config import GEOMETRIES
from petvr.costs import budget, formula
from petvr.costs.budget import Assumptions, estimate
from petvr.errors import PetvrError
from petvr.papers.plan import expand


def of(table, datasets="all", **more):
    return estimate(expand(tables=[table], datasets=datasets, seeds=[0]), **more)


RATE = {"precision": "bf16", "matrix_tflops": 700.0, "share": 0.5}


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ({"machine": "m", "lines": []}, "lines: List should have at least 1 item"),
        ({"machine": "m"}, "lines: is missing"),
        ({"machine": "m", "lines": [RATE | {"share": 0}]}, r"lines\.0\.share: .*greater than 0, not 0"),
        ({"machine": "m", "lines": [RATE | {"matrix_tflops": -3.0}]}, r"lines\.0\.matrix_tflops: .*not -3"),
        (
            {"machine": "m", "lines": [RATE, RATE | {"share": "0.5"}]},
            r"lines\.1\.share: '0\.5' given, allowed: a number",
        ),
        (
            {"machine": "m", "lines": [RATE | {"precision": "int8"}]},
            r"lines\.0: precision: 'int8' given, allowed: fp32",
        ),
        ({"machine": "m", "lines": "none"}, "lines: 'none' given, allowed: a list"),
    ],
)
def test_rates_that_no_machine_has_are_not_planned_with(report, said, tmp_path):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(report))
    with pytest.raises(PetvrError, match=rf"bench\.json: {said}.*it is written by petvr bench --json"):
        Assumptions.measured(path)


def test_hours_of_one_run_by_hand():
    plan = expand(tables=["rap/table_11"], seeds=[0])
    chosen = Assumptions(start_up_minutes=0)
    found = estimate(plan, chosen)
    pair = 12 * 8.82e9 + 2.44e9  # 12 frames and 32 words, forward
    test = 1000 * pair
    flops = 5 * (180_000 * 2 * pair + test) + test
    assert found.total.gpu_hours == pytest.approx(2 * flops / (790e12 * 0.45) / 3600, rel=1e-3)
    assert found.total.runs == found.total.training_runs == 2


@pytest.mark.parametrize(
    ("backbone", "parameters", "frame", "text"),
    [
        ("vit-b-32", 151_277_313, 8.82e9, 2.44e9),
        ("vit-b-16", 149_620_737, 35.13e9, 2.44e9),
        ("vit-l-14", 427_616_513, 162.0e9, 5.47e9),
    ],
)
def test_the_geometry_gives_the_published_parameters_and_the_counted_operations(backbone, parameters, frame, text):
    clip = GEOMETRIES[backbone]
    assert formula.parameters(clip) == parameters
    assert (formula.frame(clip), formula.text(clip, 32)) == (pytest.approx(frame, 1e-3), pytest.approx(text, 1e-3))


def test_full_tuning_leaves_all_weights_in_fp32():
    plan = expand(tables=["rap/table_1"], seeds=[0])
    full = [run.backbone for run in plan.runs.values() if run.method == "full"]
    assert estimate(plan).weights_gb == pytest.approx(sum(4e-9 * formula.parameters(GEOMETRIES[one]) for one in full))


def test_full_tuning_costs_more_than_adapters_and_zero_shot_next_to_nothing():
    hours = {}
    for run in expand(tables=["rap/table_1"], seeds=[0]).runs.values():
        hours[run.backbone, run.method] = budget._hours(run, Assumptions())
    assert 1.3 < hours["vit-b-32", "full"] / hours["vit-b-32", "rap"] < 1.5
    assert hours["vit-b-32", "zero_shot"] < hours["vit-b-32", "rap"] / 5
    assert 3 < hours["vit-b-16", "rap"] / hours["vit-b-32", "rap"] < 4


def test_shared_runs_count_once_in_the_total():
    found = estimate(expand(seeds=[0]))
    assert found.total.runs == sum(cost.runs for cost in found.papers.values()) == 248
    assert sum(cost.runs for cost in found.tables.values()) > found.total.runs
    assert found.total.gpu_hours == pytest.approx(sum(cost.gpu_hours for cost in found.papers.values()))


def test_frames_are_stored_once_per_rule_and_folder():
    found = estimate(expand(papers=["vop"], seeds=[0]))
    stores = {(store.folder, store.sampler, store.frames): store.gb for store in found.stores}
    assert set(stores) == {(name, "uniform_mid", 12) for name in ("msrvtt", "didemo", "activitynet", "lsmdc")}
    assert stores["msrvtt", "uniform_mid", 12] == pytest.approx(18.06, abs=0.01)  # 10,000 x 12 x 224 x 224 x 3
    assert found.frames_gb == pytest.approx(sum(stores.values()))


def test_seeds_multiply_hours_and_not_frames():
    one, three = (estimate(expand(tables=["vop/table_3"], seeds=seeds)) for seeds in ([0], [0, 1, 2]))
    assert three.total.gpu_hours == pytest.approx(3 * one.total.gpu_hours)
    assert three.frames_gb == one.frames_gb


def test_longer_texts_and_precision_count():
    short, long = (
        estimate(expand(tables=["vop/table_3"], overrides={"default": {"words": words}})) for words in (32, 77)
    )
    assert long.total.gpu_hours > short.total.gpu_hours
    hours = [
        estimate(expand(tables=["vop/table_3"], overrides={"default": {"precision": mode}})).total.gpu_hours
        for mode in ("bf16", "tf32", "fp32")
    ]
    assert hours == sorted(hours) and hours[2] > 3 * hours[1]


@pytest.mark.parametrize(
    ("paper", "mode"),
    [("rap", "clip4clip_fp16"), ("mv_adapter", "mv_adapter_fp16"), ("cross_modal_adapter", "cma_fp16")],
)
def test_the_papers_own_fp16_is_one_override_away(paper, mode):
    table = {"rap": "table_4", "mv_adapter": "table_6a", "cross_modal_adapter": "table_2"}[paper]
    plain = expand(tables=[f"{paper}/{table}"], seeds=[0])
    plan = expand(tables=[f"{paper}/{table}"], seeds=[0], overrides={"papers": {paper: {"precision": mode}}})
    assert {run.recipe.precision for run in plan.runs.values()} == {mode}
    assert all(mode in run.sources["recipe.precision"].where for run in plain.runs.values() if run.paper == paper)
    assert estimate(plan).total.gpu_hours == pytest.approx(estimate(plain).total.gpu_hours)


def test_a_backbone_without_figures_is_named_and_not_guessed():
    found = estimate(expand(tables=["vop/table_3"], backbones={"vit-b-32": "tiny"}))
    assert found.unknown == ("tiny",) and found.total.gpu_hours == 0
    assert found.frames_gb == found.videos_gb == 0 and found.stores[0].gb is None
    assert "no figures for tiny" in budget.render_text(found)


def test_the_text_names_every_paper_table_and_assumption_and_the_data_is_json():
    found = estimate(expand(seeds=[0]))
    text = budget.render_text(found)
    for name in [*found.papers, *found.tables, *found.assumptions]:
        assert name in text
    assert json.loads(json.dumps(dataclasses.asdict(found)))["total"]["runs"] == 248
