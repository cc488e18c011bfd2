"""The fair comparison: one protocol for every method, a row for every file, and left out unless it is asked for."""

import shutil

import pytest

from petvr import methods, papers, planning
from petvr.config import load_config
from petvr.methods._registry import REGISTRY


def planned(**changes):
    return planning.plan(load_config().model_copy(update=changes))


@pytest.fixture(scope="module")
def fair():
    return planned(papers=["fair"])


def test_it_is_asked_for(fair):
    assert not any(name.startswith("fair/") for name in planned().tables)
    assert set(fair.tables) == {f"fair/{name}" for name in ("overview", "msrvtt_9k", "msvd", "didemo")}
    assert set(planned(tables=["fair/vatex", "vop/table_3"]).tables) == {"fair/vatex", "vop/table_3"}


def test_all_methods_train_alike_but_for_what_defines_them(fair):
    """Same steps, data and arithmetic; a rate is chosen by tuning, a similarity only where a method needs it."""
    for dataset in ("msrvtt-9k", "msvd", "didemo"):
        runs = [run for run in fair.runs.values() if run.dataset == dataset]
        fields = {"similarity", "lr_clip", "lr_new", "lr_head"}
        assert len({run.recipe.model_copy(update=dict.fromkeys(fields)).model_dump_json() for run in runs}) == 1
        for run in runs:
            assert run.recipe.similarity == (methods.similarity_of(run.method) or "mean_pool")
            origins = {key: source.origin for key, source in run.sources.items() if key.startswith("recipe.")}
            needed = {"recipe.similarity", "recipe.similarity_setting"}
            assert all(origin in ("protocol", "tuned") or key in needed for key, origin in origins.items()), run.id
            assert run.recipe.selection == "last" and run.recipe.evaluations_per_epoch == 0


def test_every_method_has_a_row_and_one_that_is_added_as_a_file_too(fair, tmp_path, monkeypatch):
    folder = tmp_path / "methods"
    shutil.copytree(REGISTRY.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "block_scale.py").write_text('"""Scale."""\nVERSION = 1\nIDENTITY = "exact"\n')
    monkeypatch.setattr(REGISTRY, "folder", folder)
    more = planned(papers=["fair"])
    for name, table in fair.tables.items():
        shown = {cell.method for row in table.rows for cell in row.cells.values()}
        assert set(methods.available()) - {"block_scale"} <= shown
        (added,) = [row for row in more.tables[name].rows if row.name == "block_scale"]
        assert len(more.tables[name].rows) == len(table.rows) + 1 and added.group == "Other methods"
        for dataset in table.datasets:
            runs = [f"fair/{dataset}/vit-b-32/block_scale/seed-{seed}" for seed in (0, 42, 123)]
            assert list(added.cells[dataset].runs) == runs


def test_it_is_no_paper():
    assert papers.load_paper("fair").kind == "protocol" and "fair" not in papers.published()


def test_its_tables_have_the_methods_that_are_chosen_alone():
    chosen = planned(papers=["fair"], methods=["lora", "vop_f+vop_p"])
    assert {tuple(row.name for row in table.rows) for table in chosen.tables.values()} == {("VoP^F+P", "LoRA")}


def test_data_sets_that_are_not_chosen_have_no_columns_where_nothing_is_printed(fair):
    assert len(fair.tables["fair/overview"].columns) == 3 * 4
    some = planned(papers=["fair"], datasets=["msvd"]).tables
    assert {column.dataset for column in some["fair/overview"].columns} == {"msvd"}
    assert all(list(row.cells) == ["msvd"] for row in some["fair/overview"].rows)
    assert some["fair/didemo"].rows[0].cells["didemo"].unavailable == "not selected", "it has no other"
