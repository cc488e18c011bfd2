"""Options of data sets and a user's own: what the configuration says reaches the plan, the digests and the tables."""

from pathlib import Path

import pytest
import yaml

from petvr import config, planning
from petvr.commands import frames
from petvr.data import availability, catalogue
from petvr.errors import PetvrError
from petvr.run_ids import spec_of

ROOT = Path(__file__).parents[1]


def configured(**changes):
    values = yaml.safe_load((ROOT / "config.yaml").read_text())
    return config.validate_config({"config.yaml": values | changes})


def run(given, dataset, plan, method="bias"):
    return spec_of(given, f"cross_modal_adapter/{dataset}/vit-b-32/{method}/seed-0", plan)


def test_an_option_changes_the_runs_of_its_data_set_alone():
    plain = configured()
    chosen = configured(options={"didemo": {"didemo_key": "flickr_id"}, "vatex": {"split": "random1k5"}})
    plans = planning.plan(plain), planning.plan(chosen)
    for dataset in ("didemo", "vatex", "msvd", "msrvtt-9k", "activitynet"):
        before, after = run(plain, dataset, plans[0]), run(chosen, dataset, plans[1])
        assert before.id == after.id and (before.digest() != after.digest()) == (dataset in ("didemo", "vatex"))
    spec = run(chosen, "didemo", plans[1])
    assert spec.options == {"paragraph_order": "file", "didemo_key": "flickr_id"}
    assert spec.sources["options.didemo_key"].origin == "config"
    assert "CLIP4Clip" in spec.sources["options.paragraph_order"].where
    assert run(plain, "vatex", plans[0]).sources["options.split"].origin == "paper"


def test_a_run_of_the_plan_and_one_by_hand_have_the_same_options():
    given = configured(options={"didemo": {"paragraph_order": "time"}})
    planned = planning.plan(given)
    some = next(spec for spec in planned.runs.values() if spec.dataset == "didemo")
    assert some.options["paragraph_order"] == "time"
    by_hand = spec_of(given, some.id.replace("/seed-0", "/seed-77"))
    assert by_hand.options == some.options and by_hand.sources == some.sources


def test_the_data_set_is_read_as_chosen(tmp_path):
    given = configured(options={"vatex": {"split": "random1k5"}}, data=str(tmp_path), paths={"vatex": {"videos": "/v"}})
    dataset = catalogue.open_dataset(given, "vatex")
    assert dataset.chosen == {"split": "random1k5"} and dataset.root == tmp_path / "vatex"
    assert dataset.videos == Path("/v")
    assert catalogue.datasets_in(given, "msrvtt") == ["msrvtt-9k", "msrvtt-7k"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"didemos": {}}, r"options: unknown data set 'didemos' \(did you mean 'didemo'\?\)"),
        ({"msvd": {"key": "x"}}, r"options\.msvd: unknown option 'key'; allowed: none"),
        ({"didemo": {"paragraph": "time"}}, r"options\.didemo: unknown option 'paragraph' .*'paragraph_order'"),
        ({"vatex": {"split": "hrg"}}, r"options\.vatex\.split: unknown value 'hrg' \(did you mean 'hgr'\?\)"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(PetvrError, match=message):
        planning.plan(configured(options=options))


OWN = {"captions": "/my/captions.csv", "paper": "vop", "methods": ["zero_shot", "full", "lora@rank=4", "vop_f+vop_p"]}


def test_own_videos_get_a_table_under_the_recipe_asked_for():
    given = configured(custom_datasets={"mine": OWN})
    plan = planning.plan(given)
    view = plan.tables["own/mine"]
    assert [row.key for row in view.rows] == OWN["methods"]
    assert view.runs[:2] == ("vop/mine/vit-b-32/zero_shot/seed-0", "vop/mine/vit-b-32/full/seed-0")
    assert len(view.runs) == 1 + 3 * 3
    spec = plan.runs["vop/mine/vit-b-32/lora@rank=4/seed-42"]
    assert spec.setting == {"rank": 4} and spec.train and not plan.runs[view.runs[0]].train
    assert spec.recipe == planning.papers.load_paper("vop").recipe("mine", "lora", {"rank": 4})[0]
    assert spec_of(given, "rap/mine/vit-b-16/bias/seed-3").dataset == "mine", "any other run by its id"
    assert set(planning.plan(configured()).runs) == {id for id, one in plan.runs.items() if one.dataset != "mine"}


def test_own_tables_and_data_sets_are_chosen_like_the_papers():
    given = configured(
        custom_datasets={"mine": "/my/captions.csv", "other": "b.csv"},
        datasets=["mine"],
        tables=["own/mine"],
        methods=["full"],
    )
    plan = planning.plan(given)
    assert list(plan.tables) == ["own/mine"] and {spec.dataset for spec in plan.runs.values()} == {"mine"}
    assert {spec.method for spec in plan.runs.values()} == set(config.sections.CUSTOM_METHODS), (
        "its methods are its own choice"
    )
    assert catalogue.dataset_names(given)[-2:] == ("mine", "other")
    assert catalogue.open_dataset(given, "other").annotation_files() == [Path("b.csv")]


def test_an_own_table_has_nothing_printed():
    plan = planning.plan(configured(custom_datasets={"mine": OWN}))
    table = plan.tables["own/mine"]
    assert table.printed == {} and table.id == "own/mine" and len(table.rows) == 4


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"My-Data": "a.csv"}, "custom_datasets.*lower-case letters and digits"),
        ({"msvd": "a.csv"}, r"custom_datasets\.msvd: this name belongs to one of the papers' data sets"),
        ({"msrvtt": "a.csv"}, r"custom_datasets\.msrvtt: this name belongs"),
        ({"mine": OWN | {"paper": "vopp"}}, r"custom_datasets\.mine: unknown paper 'vopp' \(did you mean 'vop'\?\)"),
        ({"mine": OWN | {"backbone": "vit-b-31"}}, r"custom_datasets\.mine: unknown backbone 'vit-b-31'"),
        (
            {"mine": OWN | {"methods": ["fulll"]}},
            r"custom_datasets\.mine\.methods: unknown method 'fulll' \(did you mean 'full'\?\)",
        ),
        ({"mine": OWN | {"methods": ["lora@rnak=4"]}}, r"custom_datasets\.mine\.methods: .*setting 'rnak'"),
        ({"mine": OWN | {"methods": ["lora@4"]}}, r"custom_datasets\.mine\.methods: .*'4'"),
        ({"mine": OWN | {"methods": ["full", "full"]}}, r"custom_datasets\.mine\.methods: 'full' stands there twice"),
        ({"mine": OWN | {"methods": []}}, "methods"),
        ({"mine": OWN | {"caption": "a.csv"}}, "'custom_datasets.mine.caption'"),
    ],
)
def test_a_wrong_own_data_set_is_named(own, message):
    with pytest.raises(PetvrError, match=message) as caught:
        planning.plan(configured(custom_datasets=own))
    assert "\n" not in str(caught.value)


X_POOL = "rap/msvd/vit-b-32/x_pool/seed-0"


@pytest.mark.slow
def test_a_method_brings_its_similarity_whatever_the_paper_says_of_others():
    given = configured()
    plan = planning.plan(given)
    spec, recipe = spec_of(given, X_POOL, plan), spec_of(given, X_POOL, plan).recipe
    assert (recipe.similarity, recipe.similarity_setting) == ("x_pool", {})
    assert spec.sources["recipe.similarity"].where == "method 'x_pool' needs it"
    for method, similarity in (("x_pool+vop", "x_pool"), ("full@rule=clip4clip", "mean_pool")):
        assert spec_of(given, X_POOL.replace("x_pool", method), plan).recipe.similarity == similarity
    by_rule = spec_of(given, X_POOL.replace("rap/", "cross_modal_adapter/"), plan)
    assert by_rule.recipe.similarity_setting == {"dropout": 0.4}, "a paper's rule for the method adds to it"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"default": {"similarity": "mean_pool"}}, r"recipe\.default\.similarity: 'mean_pool' given.*allowed: "),
        (
            {"methods": {"x_pool": {"similarity": "x_clip"}}},
            r"recipe\.methods\.x_pool\.similarity: 'x_clip'.*: x_pool$",
        ),
    ],
)
def test_another_similarity_than_the_methods_own_is_refused_before_anything_runs(recipe, message):
    with pytest.raises(PetvrError, match=message) as caught:
        planning.plan(configured(recipe=recipe))
    assert "\n" not in str(caught.value)


def test_a_run_typed_with_another_similarity_is_refused():
    with pytest.raises(PetvrError, match=r"the run's id: recipe\.similarity: 'mean_pool'.*: x_pool"):
        spec_of(configured(), X_POOL.replace("x_pool", "x_pool@similarity=mean_pool"))
    with pytest.raises(PetvrError, match="different similarities: seq_transf, x_pool"):
        spec_of(configured(), X_POOL.replace("x_pool", "x_pool+seq_transf"))


def test_a_papers_rule_that_contradicts_a_method_is_refused_with_its_file_and_rule():
    from petvr import papers

    with pytest.raises(PetvrError, match=r"cross_modal_adapter/recipe\.yaml: rules\.\d+\.set\.similarity: 'x_pool'"):
        papers.load_paper("cross_modal_adapter").recipe("msvd", "x_pool", needed_similarity="x_clip")


def test_a_store_has_the_size_of_pictures_its_backbone_reads(tmp_path):
    """Told by the source before anything is there; else the weights come first, and nothing is decoded before."""
    sources = {
        "vit-l-14": "openai/clip-vit-large-patch14-336", "vit-b-32": "openai/clip-vit-base-patch32",
        "file": str(tmp_path / "ViT-L-14-336px.pt"), "folder": str(tmp_path / "mine"), "hub": "somebody/clip",
    }  # fmt: skip
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"vision_config": {"image_size": 240}}')
    given = configured(weights=sources, results=str(tmp_path / "results"))
    sizes = {"vit-l-14": 336, "vit-b-32": 224, "file": 336, "folder": 240, "hub": 224, "tiny": 48}
    assert {name: catalogue.image_size(given, name) for name in sizes} == sizes
    waited_for = [tmp_path / "results/weights/hub/model.safetensors"]
    assert catalogue.weights_first(given, sizes) == waited_for
    waited_for[0].parent.mkdir(parents=True)
    waited_for[0].with_name("config.json").write_text('{"vision_config": {"image_size": 336}}')
    assert catalogue.image_size(given, "hub") == 336
    assert catalogue.weights_first(given, sizes) == waited_for, "or Snakemake sees other inputs than before"


def test_own_data_with_a_val_split_select_by_it_unless_told_otherwise(tmp_path):
    table = "video,caption,split\na.mp4,a,train\nb.mp4,b,test\n"
    for rows, changes, expected in (
        ("c.mp4,c,val\n", {}, "best_on_val"),
        ("c.mp4,c,val\n", {"recipe": {"datasets": {"mine": {"selection": "last"}}}}, "last"),
        ("", {}, "best_on_test"),
        ("", {"rule": "best_on_val"}, "best_on_val"),
    ):
        (tmp_path / "own.csv").write_text(table + rows)
        own = {"mine": {"captions": str(tmp_path / "own.csv")}}
        chosen = configured(custom_datasets=own, tables=["own/mine"], datasets=["mine"], **changes)
        planned = planning.plan(chosen)
        runs = [run for run in planned.runs.values() if run.dataset == "mine"]
        assert {run.recipe.selection for run in runs} == {expected}
        assert spec_of(chosen, runs[0].id.replace("seed-0", "seed-9")).recipe.selection == expected
        assert ("mine" in availability.validated_folders(planned, chosen)) == (expected == "best_on_val")
        decoded = {item.video for item in frames._items("mine", chosen)}
        assert decoded == {"a.mp4", "b.mp4"} | ({"c.mp4"} if rows and expected == "best_on_val" else set())
        (tmp_path / "own.csv").unlink()  # the same time of change would be the same file


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tables": ["vop/table_3"], "datasets": ["lsmdc"]}, "chooses no run: its 1 table.s. show msrvtt-"),
        ({"tables": ["vop/table_3"], "methods": ["rap"]}, "chooses no run"),
        ({"papers": ["vopp"]}, "unknown paper 'vopp' .did you mean 'vop'"),
        ({"tables": ["vop/table_33"]}, "unknown table 'vop/table_33'"),
        ({"datasets": ["msvdd"]}, "unknown data set 'msvdd'"),
        ({"methods": ["vop_ff"]}, "unknown method 'vop_ff'"),
        ({"seeds": [1, 1]}, "seeds: needs at least one seed and each only once"),
        ({"backbones": {"vit-b-23": "vit-b-32"}}, "backbones: unknown backbone 'vit-b-23'"),
        ({"backbones": {"vit-b-32": "tiny"}}, r"backbones\.vit-b-32: unknown backbone 'tiny'"),
        ({"frames": {"shards": {"msvdd": 3}}}, r"frames\.shards: unknown folder of a data set 'msvdd'"),
        ({"frames": {"shards": {"msrvtt-9k": 3}}}, r"did you mean 'msrvtt'"),
        ({"paths": {"msvdd": "x"}}, "paths: unknown folder"),
        ({"options": {"didemo": {"order": "x"}}}, r"options\.didemo: unknown option 'order'"),
        (
            {"setting_overrides": [{"method": "lora", "key": "rank", "printed": 7, "used": 4}]},
            r"setting_overrides\[0\]: unknown value of lora's rank in the tables '7'",
        ),
        (
            {"setting_overrides": [{"method": "lora", "key": "rnak", "printed": 8, "used": 4}]},
            r"setting_overrides\[0\]: unknown setting 'rnak'|setting_overrides\[0\]: .*did you mean 'rank'",
        ),
        (
            {"recipe": {"methods": {"vopp": {"epochs": 1}}}},
            r"recipe\.methods: unknown method 'vopp' .did you mean 'vop_p'",
        ),
        ({"recipe": {"datasets": {"lsmdcc": {"epochs": 1}}}}, "recipe.datasets: unknown dataset 'lsmdcc'"),
        ({"recipe": {"datasets": {"lsmdc": {"epoch": 1}}}, "datasets": ["msvd"]}, "unknown recipe field 'epoch'"),
        (
            {"recipe": {"methods": {"vop_f": {"lr_new": -1}}}, "methods": ["full"]},
            r"recipe\.methods\.vop_f: lr_new: -1",
        ),
        ({"recipe": {"default": {"similarity": "mean_poll"}}}, "mean_pool"),
        ({"recipe": {"default": {"similarity_setting": {"x": 1}}}}, r"recipe\.default: .*unknown setting 'x'"),
        ({"recipe": {"default": {"batch": 1_000_000}}}, r"batch 1000000 is larger than the .* write recipe: "),
        ({"custom_datasets": {"mine": {"captions": "a.csv", "methods": ["lora@rank=0"]}}}, "rank.*allowed: 1 or more"),
        (
            {"custom_datasets": {"mine": {"captions": "a.csv", "methods": ["vop@tokens=76"]}}},
            "tokens.*allowed: 1 to 75",
        ),
        ({"custom_datasets": {"mine": {"captions": "a.csv", "paper": "rapp"}}}, "did you mean 'rap'"),
        ({"custom_datasets": {"msvd": "a.csv"}}, "belongs to one of the papers' data sets"),
    ],
)
def test_a_name_or_choice_that_means_nothing_is_told_when_the_workflow_is_parsed(changes, told):
    with pytest.raises(PetvrError, match=told) as error:
        planning.plan(configured(**changes))
    assert "\n" not in str(error.value)


def test_a_batch_that_the_data_cannot_fill_is_said_with_the_remedy(capsys):
    planned = planning.plan(configured(custom_datasets={"mine": "a.csv"}, tables=["own/mine"], datasets=["mine"]))
    (batch,) = {run.recipe.batch for run in planned.training_runs}
    availability.require_batches(planned, "mine", batch, batch)
    with pytest.raises(
        PetvrError, match=r"batch 128 is larger than the 40 .* write recipe: \{datasets: \{mine: \{batch: 40"
    ):
        availability.require_batches(planned, "mine", 12, 40)
    with pytest.raises(PetvrError, match="zero_shot needs none"):
        availability.require_batches(planned, "mine", 0, 0)
    small = {run.id: run.model_copy(update={"recipe": run.recipe.model_copy(update={"batch": 4})})
             for run in planned.training_runs[:1]}  # fmt: skip
    availability.require_batches(planned.__class__(planned.cells, planned.runs | small, {}, {}), "mine", 12, 40)
    assert "petvr: warning: recipe.batch 128 is larger than the 40 training samples of mine" in capsys.readouterr().err
