"""A wrong configuration ends in one line that names file, key and what is allowed."""

import json
from pathlib import Path

import pytest
import yaml

from petvr import config
from petvr.errors import PetvrError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the shipped config.yaml, as the working directory."""
    (tmp_path / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PETVR_CONFIG", raising=False)
    return tmp_path


def overlay(folder, values):
    (folder / "mine.yaml").write_text(yaml.safe_dump(values))
    return config.load_config(["mine.yaml"])


def test_shipped_configuration_is_valid_and_asks_for_everything(folder):
    loaded = config.load_config()
    assert (loaded.papers, loaded.tables, loaded.datasets) == ("all", "all", "all")
    assert len(loaded.seeds) == 3 and loaded.world is None


def test_overlay_merges_mappings_and_replaces_lists(folder):
    loaded = overlay(folder, {"seeds": [7], "weights": {"mine": "/models/mine"}})
    assert loaded.seeds == [7]
    assert loaded.weights["mine"] == "/models/mine" and "vit-b-32" in loaded.weights


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"sedes": [1]}, ["mine.yaml", "'sedes'", "did you mean 'seeds'"]),
        ({"recipe": {"defualt": {}}}, ["mine.yaml", "'recipe.defualt'", "did you mean 'recipe.default'"]),
        ({"seeds": "three"}, ["mine.yaml", "seeds", "'three'"]),
        ({"seeds": []}, ["mine.yaml", "seeds"]),
        ({"tables": 3}, ["mine.yaml", "tables", "must be all or a list"]),
        ({"rule": "best"}, ["mine.yaml", "rule", "'best_on_test'"]),
        ({"world": {"sizes": {}}}, ["mine.yaml", "world.tiny_clip", "required"]),
        ({"paths": {"msvd": {"video": "x"}}}, ["mine.yaml", "'paths.msvd.video'", "did you mean 'paths.msvd.videos'"]),
        ({"download": {"archives": "burn"}}, ["mine.yaml", "download.archives", "'delete' or 'keep'", "'burn'"]),
    ],
)
def test_errors_name_file_and_key(folder, values, parts):
    with pytest.raises(PetvrError) as caught:
        overlay(folder, values)
    message = str(caught.value)
    assert "\n" not in message and all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("paths", "annotations", "videos", "given"),
    [
        ({}, "data/msvd", "data/msvd/videos", (False, False)),
        ({"msvd": "/d"}, "/d", "/d/videos", (True, True)),
        ({"msvd": {"videos": "/clips"}}, "data/msvd", "/clips", (False, True)),
        ({"msvd": {"annotations": "/lists"}}, "/lists", "data/msvd/videos", (True, False)),
    ],
)
def test_a_data_set_lies_where_paths_says(folder, paths, annotations, videos, given):
    loaded = overlay(folder, {"paths": paths})
    assert (loaded.folder("msvd"), loaded.videos("msvd")) == (Path(annotations), Path(videos))
    assert loaded.given("msvd") == given


def test_a_path_for_no_data_set_is_an_error(folder):
    from petvr.data import catalogue

    with pytest.raises(PetvrError, match=r"paths: unknown folder of a data set 'msrvtt-9k' \(did you mean 'msrvtt'"):
        catalogue.check_datasets(overlay(folder, {"paths": {"msrvtt-9k": "/d"}}))


def test_error_in_the_base_file_names_the_base_file(folder):
    text = (folder / "config.yaml").read_text().replace("missing: record", "missing: ignore")
    (folder / "config.yaml").write_text(text)
    with pytest.raises(PetvrError, match=r"config\.yaml: missing: .*'record'"):
        overlay(folder, {"seeds": [1]})


def test_broken_yaml_and_absent_file(folder):
    (folder / "mine.yaml").write_text("seeds: [1\n")
    with pytest.raises(PetvrError, match=r"mine\.yaml: not YAML"):
        config.load_config(["mine.yaml"])
    with pytest.raises(PetvrError, match=r"none\.yaml: no such configuration file"):
        config.load_config(["none.yaml"])


def test_a_rule_sees_the_workflows_configuration(folder, monkeypatch):
    values = yaml.safe_load((ROOT / "config.yaml").read_text()) | {"seeds": [5]}
    monkeypatch.setenv("PETVR_CONFIG", json.dumps(values))
    assert config.load_config().seeds == [5]


def test_schema_file_is_in_step():
    """workflow/schemas/config.schema.json serves editors; the models are the truth."""
    written = json.loads((ROOT / "workflow" / "schemas" / "config.schema.json").read_text())
    assert written == config.Config.model_json_schema(), "write it anew: python -m petvr.config"


def test_quoted_rows_are_run_on_request_and_keep_what_was_printed():
    from petvr import planning

    given = config.load_config()
    plain, more = (planning.plan(given.model_copy(update={"quoted": wish})) for wish in (False, True))
    name, row = "cross_modal_adapter/table_1", "X-Pool [MSVD]"
    cells = [next(r for r in plan.tables[name].rows if r.key == row).cells["msvd"] for plan in (plain, more)]
    assert [cell.unavailable for cell in cells] == ["reported only", ""]
    assert cells[1].copied is not None and cells[1].runs and not cells[0].runs


OVERRIDES = [{"method": "cross_modal_adapter", "key": "ds", "printed": 512, "used": 64}]


def test_the_key_of_an_earlier_version_is_read_and_its_new_name_said_once(folder, capsys):
    loaded = overlay(folder, {"settings": OVERRIDES, "own": {"mine": "a.csv"}, "chunk": 4, "prefix_gib": 0.5})
    assert [override.used for override in loaded.setting_overrides] == [64]
    assert loaded.custom_datasets["mine"].captions == Path("a.csv")
    assert (loaded.micro_batch, loaded.feature_cache_gib) == (4, 0.5)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 and "petvr: mine.yaml: the key chunk is now called micro_batch" in lines


def test_of_two_files_the_later_one_wins_whichever_name_it_uses(folder):
    text = (folder / "config.yaml").read_text().replace("micro_batch: null", "chunk: 3")
    (folder / "config.yaml").write_text(text)
    assert config.load_config().micro_batch == 3
    assert overlay(folder, {"micro_batch": 5}).micro_batch == 5
    merged = yaml.safe_load(text) | {"micro_batch": 5, "chunk": 7}  # as Snakemake hands over --config chunk=7
    assert config.validate_config(merged, ["config.yaml", "mine.yaml"]).micro_batch == 7


def test_both_names_in_one_file_are_an_error(folder):
    with pytest.raises(PetvrError, match=r"mine\.yaml: chunk and micro_batch are one key, allowed: micro_batch alone"):
        overlay(folder, {"chunk": 4, "micro_batch": 4})


def test_an_error_below_an_old_key_names_the_file_that_has_it(folder):
    with pytest.raises(PetvrError, match=r"mine\.yaml: unknown key 'custom_datasets\.mine\.caption'"):
        overlay(folder, {"own": {"mine": {"captions": "a.csv", "caption": "b.csv"}}})
