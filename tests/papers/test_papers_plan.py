"""Expansion: the counts the tables need, shared cells, what cannot run, ids."""

import csv
import hashlib
import io
import json
import subprocess
import sys

import pytest

from petvr.config import load_config
from petvr.data import catalogue
from petvr.errors import PetvrError
from petvr.papers.cells import cells_csv, parse_id
from petvr.papers.implemented import Implemented
from petvr.papers.own import own_table
from petvr.papers.plan import expand
from petvr.registry import Setting
from petvr.spec import RunSpec, SettingOverride

# distinct cells that run, counted by hand from the printed tables (RAP* shows a run of RAP a second way)
CELLS_OF_TABLE = {
    "vop/table_1": 3, "vop/table_2": 12, "vop/table_3": 12, "vop/table_4": 12, "vop/table_5": 12, "vop/table_6": 12,
    "rap/table_1": 17, "rap/table_2": 28, "rap/table_3": 6, "rap/table_4": 4, "rap/table_5": 4, "rap/table_6": 6,
    "rap/table_7": 3, "rap/table_8": 2, "rap/table_9": 9, "rap/table_10": 28, "rap/table_11": 2,
    "mv_adapter/table_1": 9, "mv_adapter/table_2": 9, "mv_adapter/table_3": 9, "mv_adapter/table_4": 9,
    "mv_adapter/table_5": 9, "mv_adapter/table_6a": 4, "mv_adapter/table_6b": 4, "mv_adapter/table_6c": 2,
    "mv_adapter/table_7": 4, "mv_adapter/table_8": 6, "mv_adapter/table_9": 4, "mv_adapter/table_10": 12,
    "cross_modal_adapter/table_1": 24, "cross_modal_adapter/table_2": 10, "cross_modal_adapter/table_3": 24,
    "cross_modal_adapter/table_4": 25,
}  # fmt: skip
TINY = {"vit-b-32": "tiny", "vit-b-16": "tiny", "vit-l-14": "tiny"}


@pytest.fixture(scope="module")
def everything():
    return expand(seeds=[0, 1, 2])


def test_732_training_runs_in_33_tables(everything):
    assert len(everything.training_runs) == 732
    assert len(everything.tables) == 33
    trained = [cell for cell in everything.cells.values() if cell.train]
    per_paper = {name: sum(cell.paper == name for cell in trained) for name in {cell.paper for cell in trained}}
    assert per_paper == {"vop": 65, "rap": 55, "mv_adapter": 70, "cross_modal_adapter": 54}


def test_cells_of_every_table(everything):
    found = {
        name: len({cell.id for row in view.rows for cell in row.cells.values() if cell.id})
        for name, view in everything.tables.items()
    }
    assert found == CELLS_OF_TABLE


def test_the_switch_adds_fifty_cells_no_table_shows(everything):
    more = expand(seeds=[0, 1, 2], optional=True)
    new = [cell for id, cell in more.cells.items() if id not in everything.cells]
    assert len(new) == 50 and all(not more.tables_of.get(cell.id) and cell.used_in for cell in new)
    assert more.tables == everything.tables
    assert len(more.training_runs) == 732 + 150


@pytest.mark.slow
def test_rows_that_papers_only_report_run_on_request(everything):
    more = expand(seeds=[0, 1, 2], quoted=True)
    new = {cell.id for id, cell in more.cells.items() if id not in everything.cells}
    assert len(new) == 11 and "vop/lsmdc/vit-b-16/ju" in new
    row = next(row for row in everything.tables["vop/table_6"].rows if row.key == "Ju et al.")
    assert row.cells["lsmdc"].unavailable == "reported only" and row.cells["lsmdc"].copied


def test_zero_shot_runs_once_and_trains_nothing(everything):
    zero = [run for run in everything.runs.values() if not run.train]
    assert {(run.dataset, run.seed) for run in zero} == {
        (dataset, 0) for dataset in ("msrvtt-9k", "didemo", "msvd", "activitynet")
    }


def test_a_cell_that_tables_and_papers_share_is_one_run(everything):
    cell = everything.cells["vop/didemo/vit-b-32/vop_p"]
    assert set(everything.tables_of[cell.id]) == {"vop/table_4", "rap/table_2", "rap/table_10"}
    assert len(cell.runs) == 3
    assert set(everything.tables_of["rap/msrvtt-9k/vit-b-32/rap"]) == {f"rap/table_{n}" for n in (1, 4, 6, 7, 9, 11)}


def test_rows_with_dual_softmax_show_the_run_without(everything):
    rows = {row.key: row for row in everything.tables["rap/table_2"].rows}
    plain, dsl = rows["RAP"].cells["msvd"], rows["RAP*"].cells["msvd"]
    assert plain.runs == dsl.runs and (plain.evaluate, dsl.evaluate) == ("plain", "dsl")
    assert everything.runs[dsl.runs[0]].recipe.dsl != "none"


def test_pooling_tells_two_rows_of_one_method_apart(everything):
    prefix = "cross_modal_adapter/msrvtt-9k/vit-b-32/full@freeze=6"
    mean = everything.runs[f"{prefix},similarity=mean_pool/seed-0"]
    query = everything.runs[f"{prefix}/seed-0"]
    assert (mean.recipe.similarity, query.recipe.similarity) == ("mean_pool", "query_aware")
    assert mean.setting == query.setting == {"freeze": 6}


def test_the_digest_follows_values_and_not_their_sources(everything):
    run = everything.runs["vop/didemo/vit-b-32/bias/seed-0"]
    same = expand(tables=["vop/table_4"], overrides={"default": {"batch": run.recipe.batch}}).runs[run.id]
    other = expand(tables=["vop/table_4"], overrides={"default": {"batch": 16}}).runs[run.id]
    assert same.digest() == run.digest() != other.digest()
    assert same.sources["recipe.batch"].origin == "config"


def test_another_picture_changes_digest_and_store_and_the_usual_one_neither(everything):
    run = everything.runs["vop/didemo/vit-b-32/bias/seed-0"]
    other = expand(tables=["vop/table_4"], overrides={"default": {"picture": "crop_aliased"}}).runs[run.id]
    assert run.values()["recipe.picture"] == "crop" and run.sources["recipe.picture"].origin == "guess"
    assert run.digest() != other.digest()
    stores = [catalogue.frame_store(load_config(), each).name for each in (run, other)]
    assert stores == ["uniform_mid-12f-224px", "uniform_mid-12f-224px-crop_aliased"]
    earlier = run.model_dump(mode="json")
    del earlier["recipe"]["picture"], earlier["tuned"]  # a result from before there was a choice
    assert RunSpec.model_validate(earlier).digest() == run.digest()
    described = {key: value for key, value in earlier.items() if key not in ("sources", "defaults", "options", "tuned")}
    as_then = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
    assert as_then == run.digest()


def test_what_does_not_exist_yet_stays_in_its_table_with_the_reason():
    implemented = Implemented(
        methods={"vop", "bias", "full", "x_pool"},
        similarities={"mean_pool"},
        datasets={"msrvtt-9k", "didemo"},
    )
    plan = expand(papers=["vop"], implemented=implemented)
    status = {
        (name, row.key): cell.unavailable
        for name, view in plan.tables.items()
        for row in view.rows
        for cell in row.cells.values()
    }
    assert status["vop/table_4", "VoP"] == ""
    assert status["vop/table_4", "VoP^F+P"] == "not implemented: vop_f, vop_p"
    assert status["vop/table_1", "X-Pool"] == "not implemented: x_pool"  # the similarity of that name
    assert status["vop/table_6", "Bias"] == "no data set: lsmdc"
    assert status["vop/table_6", "Ju et al."] == "reported only"
    assert len(plan.tables) == 6 and {run.method for run in plan.runs.values()} == {"vop", "bias", "full"}


def test_a_row_that_leaves_out_the_point_of_a_number_is_the_same_run():
    made = [
        own_table("mine", {"lora": ("lora", {"scale": scale, "rank": 4})}, "rap", "RAP", "vit-b-32")
        for scale in (2, 2.0)
    ]
    settings = {"scale": Setting(1.0, "guess", "not said"), "rank": Setting(8, "count", "the size")}
    plans = [expand(own_tables=[one], implemented=Implemented(method_settings=lambda name: settings)) for one in made]
    assert [set(plan.tables["own/mine"].runs) for plan in plans] == [
        {f"rap/mine/vit-b-32/lora@rank=4,scale=2.0/seed-{seed}" for seed in range(3)}
    ] * 2


def test_data_sets_that_are_not_chosen_stay_in_their_tables():
    plan = expand(tables=["rap/table_2"], datasets=["msvd"])
    row = plan.tables["rap/table_2"].rows[0]
    assert [row.cells[name].unavailable for name in ("didemo", "msvd", "activitynet")] == [
        "not selected",
        "",
        "not selected",
    ]
    assert {run.dataset for run in plan.runs.values()} == {"msvd"}


def test_the_demo_runs_every_backbone_as_tiny_and_keeps_the_rows(everything):
    plan = expand(seeds=[0, 1, 2], backbones=TINY)
    assert {run.backbone for run in plan.runs.values()} == {"tiny"}
    assert {n: [r.key for r in v.rows] for n, v in plan.tables.items()} == {
        n: [r.key for r in v.rows] for n, v in everything.tables.items()
    }
    rows = {row.key: row.cells["msrvtt-9k"] for row in plan.tables["rap/table_1"].rows}
    assert rows["RAP [ViT-B/32]"].runs == rows["RAP [ViT-B/16]"].runs
    assert len(plan.runs) < len(everything.runs)


def test_versions_of_the_method_the_similarity_and_the_rest_are_part_of_a_run():
    implemented = Implemented(method_version=len, similarity_version=lambda name: 7, parts={"training": 3})
    run = expand(tables=["vop/table_1"], implemented=implemented).runs[
        "vop/msrvtt-9k/vit-b-32/x_pool+vop@tokens=8/seed-0"
    ]
    assert run.versions == {"methods/x_pool": 6, "methods/vop": 3, "similarity/x_pool": 7, "training": 3}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"papers": ["vopp"]}, "did you mean 'vop'"),
        ({"tables": ["vop/table_33"]}, "did you mean 'vop/table_3'"),
        ({"datasets": ["msvdd"]}, "did you mean 'msvd'"),
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [1, 1]}, "only once"),
        ({"overrides": {"methods": {"vopp_f": {"epochs": 1}}}}, "did you mean 'vop_f'"),
        ({"overrides": {"papers": {"vopp": {"epochs": 1}}}}, "did you mean 'vop'"),
    ],
)
def test_wrong_choices_are_told(arguments, told):
    with pytest.raises(PetvrError) as error:
        expand(**arguments)
    assert told in str(error.value)


def test_every_id_can_be_taken_apart_and_put_together(everything):
    for id, run in everything.runs.items():
        parts = parse_id(id)
        assert f"{parts.cell}/seed-{parts.seed}" == id
        assert (parts.paper, parts.dataset, parts.backbone, parts.method) == (
            run.paper,
            run.dataset,
            run.backbone,
            run.method,
        )
        assert parts.setting == {
            k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in (run.setting | run.variant).items()
        }
    assert parse_id("vop/didemo/tiny/vop@tokens=8").seed is None


@pytest.mark.parametrize("text", ["vop", "vop/didemo/tiny/vop/seed-x", "vop/didemo/tiny/vop@tokens", "a/b/c/@k=1", ""])
def test_what_is_no_id_is_told(text):
    with pytest.raises(PetvrError, match="of the form"):
        parse_id(text)


def test_the_list_of_cells_is_complete(everything):
    implemented = Implemented(methods={"vop", "bias"})
    plan = expand(papers=["vop"], seeds=[0, 1], implemented=implemented)
    rows = list(csv.DictReader(io.StringIO(cells_csv(plan, lambda run: "done"))))
    assert list(rows[0]) == ["id", "paper", "tables", "dataset", "backbone", "method", "setting", "seed", "status"]
    done = [row for row in rows if row["status"] == "done"]
    assert {row["id"] for row in done} == set(plan.runs)
    waiting = [row for row in rows if row["status"].startswith("not implemented")]
    assert len(waiting) == len(plan.cells) - len(plan.runs) // 2 and all(not row["seed"] for row in waiting)
    shown = next(row for row in rows if row["id"] == "vop/didemo/vit-b-32/vop@tokens=8/seed-1")
    assert (shown["tables"], shown["setting"], shown["seed"]) == ("vop/table_4", "tokens=8", "1")


def test_planning_imports_neither_torch_nor_pandas():
    code = (
        "import sys; from petvr.papers import plan, cells; from petvr.costs import budget; "
        "budget.estimate(plan.expand());"
        "print(sorted({'torch', 'transformers', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_methods_that_are_not_selected_stay_in_the_table():
    implemented = Implemented(methods=["bias", "vop", "full"])
    plan = expand(tables=["vop/table_3"], methods=["bias", "vop"], implemented=implemented)
    states = {row.key: cell.unavailable for row in plan.tables["vop/table_3"].rows for cell in row.cells.values()}
    assert (states["Bias"], states["VoP"], states["Full"]) == ("", "", "not selected")
    assert states["VoP^F"] == "not implemented: vop_f"
    assert {run.method for run in plan.runs.values()} == {"bias", "vop"}
    with pytest.raises(PetvrError, match="unknown method 'vopp'"):
        expand(tables=["vop/table_3"], methods=["vopp"])


def test_a_setting_may_stand_in_for_a_printed_one_and_its_source_says_so():
    table = "cross_modal_adapter/table_2"
    before = {cell.id for cell in expand(tables=[table]).cells.values()}
    narrower = SettingOverride(method="cross_modal_adapter", key="ds", printed=512, used=64)
    plan = expand(
        tables=[table], setting_overrides=[narrower, SettingOverride(method="lora", key="ds", printed=16, used=1)]
    )
    after = {cell.id for cell in plan.cells.values()}
    assert {cell.replace("ds=512", "ds=64") for cell in before} == after != before
    changed = next(run for run in plan.runs.values() if run.dataset == "activitynet" and "ds" in run.setting)
    assert changed.setting["ds"] == 64
    assert changed.sources["setting.ds"].origin == "config"
    same = next(run for run in plan.runs.values() if run.setting.get("ds") == 16)
    assert same.sources["setting.ds"].origin != "config"


def test_the_cells_of_some_figures_run_by_their_names(everything):
    more = expand(seeds=[0, 1, 2], optional=["rap/figure_1_top", "cross_modal_adapter/figure_7_r"])
    new = [cell.used_in for id, cell in more.cells.items() if id not in everything.cells]
    assert sorted(new) == ["cross_modal_adapter/figure_7_r"] * 5 + ["rap/figure_1_top"]
    with pytest.raises(PetvrError, match="unknown name of optional cells 'rap/figure_9'"):
        expand(optional=["rap/figure_9"])
