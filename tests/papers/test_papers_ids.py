"""One run, one id: every other spelling is an error that names the right one, before anything starts."""

import dataclasses
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petvr import config, methods, planning
from petvr.clip.config import GEOMETRIES, settings_limits
from petvr.errors import PetvrError
from petvr.run_ids import spec_of
from petvr.spec import Recipe
from petvr.workflow import check_targets, profile_files, unknown_rules

CONFIG = config.load_config()
PLAN = planning.plan(CONFIG)
LORA = "rap/msrvtt-9k/vit-b-32/lora@rank=8/seed-0"


def spec(run_id):
    return spec_of(CONFIG, run_id, PLAN)


@pytest.mark.parametrize(
    ("change", "right"),
    [
        (("seed-0", "seed-00"), LORA),
        (("seed-0", "seed-007"), LORA.replace("seed-0", "seed-7")),
        (("seed-0", "seed-\u0663"), LORA.replace("seed-0", "seed-3")),
        (("rank=8", "rank=08"), LORA),
        (("rank=8", "rank=0x8"), LORA),
        (("rank=8", "rank=\u0668"), LORA),
        (("rank=8", "rank=8.0"), LORA),
        (("rank=8", "rank= 8"), LORA),
        (("@rank=8", ""), LORA),
        (("rank=8", "lora.rank=8"), LORA),
        (("rank=8", "lr_new=1e-4"), LORA),
        (("rank=8", "words=32,rank=8"), LORA),
        (("rank=8", "rank=4,lr_new=1e-3"), LORA.replace("rank=8", "lr_new=0.001,rank=4")),
        (("rank=8", "rank=8,rank=8"), LORA),
        (("rap/", "RAP/"), LORA),
        (("vit-b-32", "ViT-B-32"), LORA),
        (("lora", "lara"), LORA),
        (("@", "%40"), LORA),
        (("rap", "./rap"), LORA),
        (("rap", "results/runs/rap"), LORA),
        (("seed-0", "seed-0/"), LORA),
        (("seed-0", "seed-0/result.json"), LORA),
        (("seed-0", "seed-0\n"), LORA),
        ((LORA, LORA.upper()), LORA),
        ((LORA, "vop/msrvtt-9k/vit-b-32/vop_p+vop_f/seed-0"), "vop/msrvtt-9k/vit-b-32/vop_f+vop_p/seed-0"),
    ],
)
def test_another_spelling_is_told_the_right_one(change, right):
    written = LORA.replace(*change)
    assert written != LORA
    with pytest.raises(PetvrError) as error:
        spec(written)
    assert f"'{right}'" in str(error.value) and "\n" not in str(error.value)
    assert spec(right).id == right


@pytest.mark.parametrize(
    "setting",
    ["rank=[8", "rank=*a", "rank=-1", "rank=nan", "rank=", "rank=" + "9" * 5_000, "rank=true",
     "similarity_setting={a: 1}", "lr_new=nan", "lr_new=-1", "batch=1",
     "batch=1000000000000000000", "select_by=$(touch x)", "words=78", "seed=1"],
)  # fmt: skip
def test_a_value_no_run_can_have_is_one_short_line(setting):
    with pytest.raises(PetvrError) as error:
        spec(LORA.replace("rank=8", setting))
    assert "\n" not in str(error.value) and len(str(error.value)) < 1_000


@pytest.mark.parametrize("seed", ["4294967296", "9" * 5_000, "-1", "1.0", "1e3", ""])
def test_a_seed_no_run_can_have_is_told(seed):
    with pytest.raises(PetvrError, match="seed"):
        spec(LORA.replace("seed-0", f"seed-{seed}"))


def test_a_target_of_the_workflow_is_checked_before_anything_starts():
    check_targets(CONFIG, PLAN, ["all_tables", f"results/runs/{LORA}/result.json", "elsewhere/result.json"])
    with pytest.raises(PetvrError, match="is spelled"):
        check_targets(CONFIG, PLAN, [f"./results//runs/{LORA.replace('-0', '-007')}/result.json"])
    for target in ("tune_all", "tune_msvd"):
        with pytest.raises(PetvrError, match=f"{target}: nothing of this configuration is tuned"):
            check_targets(CONFIG, PLAN, [target])
    run = next(iter(PLAN.runs.values())).model_copy(update={"dataset": "msvd", "tuned": {"recipe.lr_new": None}})
    check_targets(CONFIG, dataclasses.replace(PLAN, runs={run.id: run}), ["tune_all", "tune_msvd"])


def test_what_a_profile_says_of_a_rule_that_is_not_there_is_named(tmp_path):
    assert unknown_rules(["train"], ["train", "table"]) == []
    (line,) = unknown_rules(["trian"], ["train", "table"])
    assert "unknown rule 'trian' (did you mean 'train'?)" in line
    (tmp_path / "config.yaml").write_text("jobs: 1\n")
    for words in (["--profile", str(tmp_path)], [f"--workflow-profile={tmp_path}", "-n"]):
        assert profile_files(words) == [tmp_path / "config.yaml"]
    assert profile_files(["--profile", "demo_that_is_elsewhere"]) == []


def test_methods_of_ones_own_data_have_one_spelling():
    def own(*names):
        mine = {"mine": config.CustomDataset(captions="a.csv", methods=list(names))}
        return planning.own_table(CONFIG.model_copy(update={"custom_datasets": mine}), "mine")

    assert [row.name for row in own("full", "lora@rank=4", "vop_f+vop_p").rows] == [
        "full",
        "lora@rank=4",
        "vop_f+vop_p",
    ]
    for written, right in (("lora@rank=04", "lora@rank=4"), ("lora@rank=8", "lora"), ("vop_p+vop_f", "vop_f+vop_p")):
        with pytest.raises(
            PetvrError, match=rf"custom_datasets\.mine\.methods: '{written}'.* '{right}'".replace("+", r"\+")
        ):
            own(written)


def settings(package, name):
    """A few settings of a method or similarity with values that their declarations allow."""
    values = {}
    for key, one in package.declared(name).settings.items():
        if one.choices:
            values[key] = st.sampled_from(one.choices)
        elif isinstance(one.default, bool):
            values[key] = st.booleans()
        elif isinstance(one.default, int):
            values[key] = st.sampled_from([one.default, *(n for n in range(1, 9) if one._in_bounds(n, {}))])
        elif isinstance(one.default, float):
            values[key] = st.floats(0, 1, allow_nan=False).filter(lambda value, one=one: one._in_bounds(value, {}))
    return st.fixed_dictionaries({}, optional=values)


def keeps_rules(method, setting):
    """Its values may be together."""
    try:
        methods.settings(method, setting, settings_limits(GEOMETRIES["vit-b-32"]))
    except PetvrError:
        return False
    return True


@pytest.mark.slow
@given(st.data())
def test_any_run_has_one_id_that_leads_back_to_it(data):
    """id -> spec -> id for settings, recipe fields and seeds of any method."""
    method = data.draw(st.sampled_from(methods.available()))
    setting = data.draw(settings(methods, method).filter(lambda setting: keeps_rules(method, setting)))
    setting |= data.draw(
        st.fixed_dictionaries(
            {}, optional={"lr_new": st.floats(0, 1), "batch": st.integers(2, 999), "drop_last": st.booleans()}
        )
    )
    seed = data.draw(st.integers(0, 2**32 - 1))
    words = ",".join(
        f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in setting.items()
    )
    written = f"rap/msvd/vit-b-32/{method}{'@' if words else ''}{words}/seed-{seed}"
    try:
        found = spec(written)
    except PetvrError as error:
        right = str(error).rpartition("is spelled '")[2].rstrip("'")
        assert right != str(error), error
        found = spec(right)
        assert found.id == right
    assert (found.method, found.seed) == (method, seed)
    for key, value in setting.items():
        part = methods.settings(method, found.setting)[method]
        assert (getattr(found.recipe, key) if key in Recipe.model_fields else part[key]) == value


edits = st.tuples(st.sampled_from(["drop", "double", "swap", "case", "put"]), st.integers(0, 10**6), st.sampled_from(
    string.ascii_lowercase + string.digits + "@=,/-_+. %"
))  # fmt: skip


@pytest.mark.slow
@given(st.sampled_from(sorted(PLAN.runs)), st.lists(edits, min_size=1, max_size=2))
def test_a_small_slip_is_another_run_or_an_error_never_the_same_run_again(run_id, slips):
    text = run_id
    for kind, number, sign in slips:
        at = number % len(text)
        one = text[at]
        text = text[:at] + {"drop": "", "double": one * 2, "case": one.swapcase(), "put": one + sign}.get(kind, "") + (
            text[at + 1 : at + 2] + one + text[at + 2 :] if kind == "swap" else text[at + 1 :]
        )  # fmt: skip
    try:
        found = spec(text)
    except PetvrError as error:
        assert "\n" not in str(error)
        return
    assert found.id == text
    if text != run_id:
        before = PLAN.runs[run_id]
        assert (found.cell, found.seed) != (before.cell, before.seed)
        assert same_work(found) != same_work(before) or found.cell in {run.cell for run in PLAN.runs.values()}


def same_work(run):
    """What a run does, whatever its id."""
    return run.paper, run.dataset, run.backbone, run.recipe, methods.settings(run.method, run.setting), run.seed
