"""Recipes: every value has a source, the papers' own values arrive, mistakes in a folder are named."""

import shutil

import pytest
import yaml

from petvr import papers
from petvr.config import load_config
from petvr.errors import PetvrError
from petvr.papers.paper import Paper
from petvr.papers.plan import expand
from petvr.planning import implemented
from petvr.spec import Source


def recipe(paper, dataset="msrvtt-9k", method="full", setting=None, **more):
    return papers.load_paper(paper).recipe(dataset, method, setting, **more)


def test_values_the_papers_print():
    vop, _ = recipe("vop", "didemo", "vop", {"tokens": 8})
    assert (vop.optimizer, vop.weight_decay, vop.batch, vop.frames, vop.words) == ("adamw", 0.2, 32, 12, 77)
    rap = {dataset: recipe("rap", dataset, "rap")[0] for dataset in ("msrvtt-9k", "didemo", "activitynet")}
    assert [r.epochs for r in rap.values()] == [5, 10, 5]
    assert [(r.frames, r.words) for r in rap.values()] == [(12, 32), (64, 64), (64, 64)]
    assert rap["didemo"].lr_new == 1e-4 and rap["didemo"].optimizer == "bert_adam"
    short, long = (recipe("mv_adapter", dataset, "mv_adapter")[0] for dataset in ("msvd", "activitynet"))
    assert (short.epochs, short.batch, short.frames, short.words) == (5, 128, 12, 32)
    assert (long.epochs, long.batch, long.frames, long.words) == (15, 64, 32, 64)
    assert (short.lr_new, short.lr_clip, short.lr_head) == (5e-6, 1e-7, 1e-4)
    cma, _ = recipe("cross_modal_adapter", "activitynet", "cross_modal_adapter")
    assert (cma.epochs, cma.lr_new, cma.clip_tensor) == (20, 1e-5, None)
    assert (cma.similarity, cma.similarity_setting) == ("query_aware", {"tau": 5.0})


def test_the_samplers_differ_between_the_papers():
    found = {name: recipe(name)[0].sampler for name in papers.published()}
    assert found == {
        "vop": "uniform_mid",
        "rap": "c4c_1fps_int",
        "mv_adapter": "floor_uniform",
        "cross_modal_adapter": "round_1fps",
    }


def test_rates_no_paper_states_are_marked_as_guesses_with_a_reason():
    for paper, method in (("vop", "vop"), ("vop", "bias"), ("rap", "lora"), ("cross_modal_adapter", "coop")):
        key = "lr_clip" if method == "bias" else "lr_new"
        source = recipe(paper, method=method)[1][f"recipe.{key}"]
        assert source.origin == "guess" and len(source.where) > 20


def test_a_composition_takes_the_rules_of_its_parts():
    x_pool, _ = recipe("vop", method="x_pool+vop", setting={"tokens": 8})
    assert x_pool.similarity == "x_pool" and x_pool.lr_head == 3e-5
    assert recipe("vop", method="vop")[0].similarity == "mean_pool"


def test_mean_pooling_rows_of_the_query_aware_paper_drop_its_temperature():
    pooled, sources = recipe(
        "cross_modal_adapter", variant={"similarity": "mean_pool"}, named_by=Source(origin="paper", where="table 4")
    )
    assert (pooled.similarity, pooled.similarity_setting) == ("mean_pool", {})
    assert sources["recipe.similarity"].where == "table 4"


def test_overrides_of_the_configuration_win_from_general_to_special_and_say_so():
    overrides = {
        "default": {"epochs": 1, "frames": 4, "batch": 8, "words": 20},
        "papers": {"vop": {"frames": 5, "batch": 9, "words": 21}, "rap": {"words": 30}},
        "datasets": {"didemo": {"batch": 10, "words": 22}},
        "methods": {"vop": {"words": 23}},
    }
    found, sources = recipe("vop", "didemo", "vop", overrides=overrides)
    assert (found.epochs, found.frames, found.batch, found.words) == (1, 5, 10, 23)
    assert (sources["recipe.words"].origin, sources["recipe.words"].where) == ("config", "recipe.methods.vop")
    assert recipe("vop", "didemo", "bias", overrides=overrides)[0].words == 22


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"default": {"epoch": 1}}, "recipe.default: unknown recipe field 'epoch' (did you mean 'epochs'?)"),
        ({"papers": {"vop": {"epochs": "many"}}}, "recipe.papers.vop: epochs"),
        ({"paper": {}}, "unknown key 'paper' (did you mean 'papers'?)"),
    ],
)
def test_a_wrong_override_is_told_with_its_place(overrides, told):
    with pytest.raises(PetvrError) as error:
        recipe("vop", overrides=overrides)
    assert told in str(error.value)


def test_an_unknown_paper_is_told_with_the_nearest():
    with pytest.raises(PetvrError, match="did you mean 'rap'"):
        papers.load_paper("rapp")


@pytest.fixture
def fifth(tmp_path):
    return shutil.copytree(papers.load_paper("vop").folder, tmp_path / "fifth")


def test_a_fifth_paper_is_a_folder(fifth):
    paper = Paper(fifth)
    assert paper.name == "fifth" and paper.tables["table_3"].id == "fifth/table_3"
    assert paper.recipe("didemo", "vop")[0] == recipe("vop", "didemo", "vop")[0]
    assert paper.printed("table_3")


def first_row(tables):
    return tables["tables"]["table_3"]["rows"][0]


def broken(folder, file, change):
    data = yaml.safe_load((folder / file).read_text(encoding="utf-8"))
    change(data)
    (folder / file).write_text(yaml.safe_dump(data), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("recipe.yaml", lambda d: d["base"].pop("lr_new"), "base: missing lr_new"),
        ("recipe.yaml", lambda d: d["base"]["epochs"].update(value="x"), "base: epochs"),
        ("recipe.yaml", lambda d: d["base"]["epochs"].update(origin="rumour"), "base.epochs.origin"),
        ("recipe.yaml", lambda d: d["base"]["epochs"].pop("where"), "base.epochs.where: is missing"),
        (
            "recipe.yaml",
            lambda d: d["base"].update(epochs=5),
            "base.epochs: 5 given, allowed: keys with values (",
        ),
        ("recipe.yaml", lambda d: d.update(year="soon"), "year: 'soon' given, allowed: a whole number"),
        ("recipe.yaml", lambda d: d.update(kind="papr"), "kind: 'papr' given, allowed: paper, protocol"),
        ("recipe.yaml", lambda d: d["rules"][0]["when"].update(method="full"), "'full' given, allowed: a list"),
        ("recipe.yaml", lambda d: d["rules"][0]["when"].update(method=["ful"]), "rules.0.when.method: unknown method"),
        ("recipe.yaml", lambda d: d["rules"][0]["when"].update(setting={"tokns": 8}), "(did you mean 'tokens'?)"),
        ("recipe.yaml", lambda d: d["settings"].update(lorra={}), "settings: unknown method of a row 'lorra'"),
        ("recipe.yaml", lambda d: d["counting"]["remarks"].update(juu="x"), "remarks: unknown method of a row 'juu'"),
        ("recipe.yaml", lambda d: d["rules"][0].update(sett={}), "did you mean 'set'"),
        ("recipe.yaml", lambda d: d["rules"][0]["when"].update(dataset=["didemmo"]), "did you mean 'didemo'"),
        ("tables.yaml", lambda d: d["tables"]["table_3"].update(colums=[]), "did you mean 'columns'"),
        ("tables.yaml", lambda d: d["tables"]["table_3"]["rows"][0].update(methd=1), "did you mean 'method'"),
        ("tables.yaml", lambda d: d["tables"]["table_3"].update(against="Ful"), "table_3.against: unknown row 'Ful'"),
        (
            "tables.yaml",
            lambda d: first_row(d).update(recipe={"epochs": 0}),
            "rows.Full.recipe: epochs: 0 given",
        ),
        (
            "tables.yaml",
            lambda d: first_row(d).update(setting={"r": [1]}),
            "setting.r: [1] given, allowed: a text, ",
        ),
        (
            "tables.yaml",
            lambda d: first_row(d).update(sources={"rul": {"origin": "guess", "where": "nothing"}}),
            "rows.Full.sources: unknown setting or recipe field 'rul' (did you mean 'rule'?)",
        ),
    ],
)
def test_a_mistake_in_a_folder_is_told_with_file_and_key(fifth, file, change, told):
    broken(fifth, file, change)
    with pytest.raises(PetvrError) as error:
        Paper(fifth)
    assert file in str(error.value) and told in str(error.value) and "\n" not in str(error.value)


def test_a_row_that_stands_twice_is_an_error(fifth):
    broken(fifth, "tables.yaml", lambda d: d["tables"]["table_3"]["rows"].append(d["tables"]["table_3"]["rows"][0]))
    with pytest.raises(PetvrError, match=r"table_3\.rows\.Full.*twice"):
        _ = Paper(fifth).tables


def test_a_broken_number_in_printed_csv_is_told_with_its_line(fifth):
    path = fifth / "printed.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("40.5,,40.5", "4O.5,,40.5", 1), encoding="utf-8")
    with pytest.raises(PetvrError, match="row 4: value and std"):
        Paper(fifth).printed("table_1")


def test_a_printed_number_that_no_cell_shows_is_told(fifth):
    path = fifth / "printed.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("table_1,X-Pool,", "table_1,X-Pol,"), encoding="utf-8")
    with pytest.raises(PetvrError, match=r"printed\.csv: table_1: X-Pol, .*: the table shows no such cell: .*'X-Pool'"):
        Paper(fifth)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (",didemo,", ",didemmo,", "no such cell: unknown data set 'didemmo'"),
        (",R@1,", ",R@2,", "no such cell: unknown metric 'R@2'"),
        (",t2v,", ",t2w,", "no such cell: unknown direction 't2w' (did you mean 't2v'?)"),
        (
            ",40.5,,40.5,,",
            ",40.5,,40.5,bolt,",
            "row 4: emphasised: unknown emphasis 'bolt' (did you mean 'bold'?)",
        ),
        (",40.5,,40.5", ",40.5,-0.1,40.5", "row 4: std: -0.1 given, allowed: 0 or more"),
    ],
)
def test_a_line_of_printed_csv_that_fits_nothing_is_told(fifth, old, new, told):
    path = fifth / "printed.csv"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(PetvrError) as error:
        Paper(fifth)
    assert "printed.csv: " in str(error.value) and told in str(error.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"metric": "t2v R@7"}, "metric 't2v R@7' given, allowed: t2v or v2t"),
        ({"a": "table_3/Nobody"}, "unknown row with a printed number on "),
    ],
)
def test_a_claim_of_what_is_not_printed_is_told(fifth, change, told):
    broken(fifth, "claims.yaml", lambda d: next(c for c in d["claims"] if c["kind"] == "difference").update(change))
    with pytest.raises(PetvrError) as error:
        _ = Paper(fifth).claims
    assert "claims.yaml: " in str(error.value) and told in str(error.value)


def test_what_no_run_can_have_is_told_with_file_and_row():
    with pytest.raises(PetvrError, match=r"vop/tables\.yaml: table_3\.rows\.Full: unknown backbone 'vit-b-33'"):
        expand(tables=["vop/table_3"], backbones={"vit-b-32": "vit-b-33"}, implemented=implemented(load_config([])))


def test_text_that_is_not_yaml_is_one_line(fifth):
    (fifth / "recipe.yaml").write_text("base: {epochs: [", encoding="utf-8")
    with pytest.raises(PetvrError, match=r"recipe\.yaml: not YAML"):
        Paper(fifth)
