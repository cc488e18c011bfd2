"""A wrong configuration ends in one line that names file, key and what is allowed."""

import json
import os
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
        ({"seeds": [-1]}, ["mine.yaml", "seeds.0", "greater than or equal to 0", "-1"]),
        ({"seeds": [2**53 + 1]}, ["mine.yaml", "seeds.0", "less than or equal to"]),
        ({"seeds": [True]}, ["mine.yaml", "seeds.0", "True"]),
        ({"seeds": ["1"]}, ["mine.yaml", "seeds.0", "'1'"]),
        ({"optional": "yes"}, ["mine.yaml", "optional", "'yes'"]),
        ({"optional": 1}, ["mine.yaml", "optional"]),
        ({"checkpoint_minutes": float("nan")}, ["mine.yaml", "checkpoint_minutes", "nan"]),
        ({"checkpoint_minutes": True}, ["mine.yaml", "checkpoint_minutes", "must be a number"]),
        ({"micro_batch": 0}, ["mine.yaml", "micro_batch"]),
        ({"micro_batch": 4.0}, ["mine.yaml", "micro_batch"]),
        ({"feature_cache_gib": float("inf")}, ["mine.yaml", "feature_cache_gib"]),
        ({"results": ""}, ["mine.yaml", "results", "name of a file or folder"]),
        ({"results": "config.yaml"}, ["mine.yaml", "results", "no folder"]),
        ({"results": "r" * 300}, ["mine.yaml", "results", "255 bytes"]),
        ({"results": "a\0b"}, ["mine.yaml", "results"]),
        ({"results": "re{sults}"}, ["mine.yaml", "results", "braces"]),
        ({"data": "da}ta"}, ["mine.yaml", "data", "braces"]),
        ({"weights": {"ViT/B": "x"}}, ["mine.yaml", "weights", "lower-case"]),
        ({"weights": {"mine": ""}}, ["mine.yaml", "weights.mine"]),
        ({"frames": {"shards": {"msvd": 0}}}, ["mine.yaml", "frames.shards.msvd"]),
        ({"custom_datasets": {"mine": ""}}, ["mine.yaml", "custom_datasets.mine.captions"]),
        ({1: 2}, ["mine.yaml", "1"]),
        ({"tables": 3}, ["mine.yaml", "tables", "must be all or a list"]),
        ({"rule": "best"}, ["mine.yaml", "rule", "'best' given, allowed: paper, best_on_test, "]),
        ({"world": {"sizes": {}}}, ["mine.yaml", "world.tiny_clip: is missing"]),
        ({"paths": {"msvd": {"video": "x"}}}, ["mine.yaml", "'paths.msvd.video'", "did you mean 'paths.msvd.videos'"]),
        ({"download": {"archives": "burn"}}, ["mine.yaml", "download.archives: 'burn' given, allowed: delete, keep"]),
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
    with pytest.raises(PetvrError, match=r"config\.yaml: missing: 'ignore' given, allowed: record, strict"):
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
    layers = config.read_layers(["config.yaml", "mine.yaml"], {"chunk": "7"})  # snakemake --config chunk=7
    assert config.validate_config(layers).micro_batch == 7


def test_both_names_in_one_file_are_an_error(folder):
    with pytest.raises(PetvrError, match=r"mine\.yaml: chunk and micro_batch are one key, allowed: micro_batch alone"):
        overlay(folder, {"chunk": 4, "micro_batch": 4})


def test_an_error_below_an_old_key_names_the_file_that_has_it(folder):
    with pytest.raises(PetvrError, match=r"mine\.yaml: unknown key 'custom_datasets\.mine\.caption'"):
        overlay(folder, {"own": {"mine": {"captions": "a.csv", "caption": "b.csv"}}})


BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"seeds: [1]\nseeds: [2]\n", "line 2, column 1: the key 'seeds' stands there twice"),
        (b"recipe: {default: {epochs: 1, epochs: 2}}\n", "the key 'epochs' stands there twice"),
        (b"seeds:\n\t- 1\n", "line 2, column 1: .*a tab"),
        (BOMB.encode(), "aliases that stand for more than"),
        (b"recipe: &a {default: *a}\n", "an alias within what it names"),
        (b"[" * 100_000, "nested too deeply"),
        (b"- " * 3_000 + b"1", "nested too deeply"),
        (b"seeds: [" + b"9" * 5_000 + b"]\n", "mine.yaml: cannot be used"),
        ("results: f\u00fcr\n".encode("latin-1"), "cannot be read as UTF-8 .byte 0xfc in line 1"),
        ("seeds: [1]\n".encode("utf-16"), "UTF-16"),
        (b"seeds: [1]\0\n", "NUL byte"),
        (b"seeds: !!python/object/apply:os.system [true]\n", "could not determine a constructor"),
        (b"? [1]\n: 2\n", "a key has to be a word"),
        (b"", "must hold keys and values, not NoneType"),
        (b"- 1\n", "must hold keys and values, not list"),
        (b"--- {}\n--- {}\n", "another document"),
        (b"seeds: [010]\n", "seeds.0: '010' given, allowed: a whole number"),
        (b"seeds: [1:30]\n", "seeds.0: '1:30' given, allowed: a whole number"),
        (b"optional: on\n", "optional: .* not 'on'"),
        (b"papers: [all]\n", "papers: must be all or a list of names, each once"),
        (b"datasets: [msvd, msvd]\n", "datasets: must be all or a list of names, each once"),
        (b"results: ~/results\n", "results: `~` is not read as a home folder"),
        (b"results: /dev/null/results\n", "results: /dev/null is no folder"),
        (b'data: "two\\nlines"\n', "data: must be the name of a file or folder"),
        (b"custom_datasets: {all: a.csv}\n", "other than `all`"),
        (b'against: {vop/table_3: " "}\n', "against.vop/table_3: must not be empty"),
        (b'weights: {vit-b-32: " "}\n', "weights.vit-b-32: must not be empty"),
        (b'tracking: {experiment: ""}\n', "tracking.experiment: must not be empty"),
        (b"tracking: {uri: ftp://host}\n", "tracking.uri: must be default or what MLflow takes"),
        (b'deterministic: "true"\n', "deterministic: 'true' given, allowed: true or false, without quotes"),
        (b"micro_batch: 100000000000000000000\n", "micro_batch: "),
    ],
)
def test_a_file_that_cannot_be_meant_is_one_line(folder, content, told):
    (folder / "mine.yaml").write_bytes(content)
    with pytest.raises(PetvrError, match=told) as error:
        config.load_config(["mine.yaml"])
    assert str(error.value).startswith("mine.yaml: ") and "\n" not in str(error.value)


def test_a_folder_in_place_of_a_file_is_one_line(folder):
    (folder / "mine.yaml").mkdir()
    with pytest.raises(PetvrError, match=r"mine\.yaml: cannot be read \(Is a directory\)"):
        config.load_config(["mine.yaml"])


def test_a_pipe_in_place_of_a_file_is_not_waited_for(folder):
    os.mkfifo(folder / "mine.yaml")
    with pytest.raises(PetvrError, match=r"mine\.yaml: not a file"):
        config.load_config(["mine.yaml"])


def test_one_printed_setting_is_replaced_by_one_value(folder):
    from petvr import planning

    twice = [*OVERRIDES, {**OVERRIDES[0], "used": 32}]
    with pytest.raises(PetvrError, match=r"setting_overrides\[1\]: .* ds 512 has another value above"):
        planning.plan(overlay(folder, {"setting_overrides": twice}))


@pytest.mark.parametrize("garbage", ["{", "[1]", "3", "[" * 100_000])
def test_an_environment_that_is_not_the_workflows_is_one_line(folder, monkeypatch, garbage):
    monkeypatch.setenv("PETVR_CONFIG", garbage)
    with pytest.raises(PetvrError, match="PETVR_CONFIG"):
        config.load_config()


def test_words_of_a_command_line_mean_what_they_mean_in_a_file(folder):
    """Snakemake leaves words inside lists and mappings texts; a wrong one is not blamed on a file."""
    given = {"seeds": ["3", "4"], "recipe": {"default": {"lr_new": "1e-3", "batch": "16", "drop_last": "false"}}}
    loaded = config.validate_config(config.read_layers(["config.yaml"], given))
    assert loaded.seeds == [3, 4]
    assert loaded.recipe.default == {"lr_new": 1e-3, "batch": 16, "drop_last": False}
    with pytest.raises(PetvrError, match=r"^--config: seeds\.1: "):
        config.validate_config(config.read_layers(["config.yaml"], {"seeds": ["3", "x"]}))
