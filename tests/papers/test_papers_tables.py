"""What the four folders hold, held against facts counted elsewhere: tables, printed values, methods' settings."""

import csv
import re

import pytest

from petvr import methods, papers, similarity
from petvr.papers.plan import expand

DATASETS = {"msrvtt-9k", "msrvtt-7k", "msvd", "lsmdc", "didemo", "activitynet", "vatex"}
BACKBONES = {"vit-b-32", "vit-b-16", "vit-l-14"}
ALL = [papers.load_paper(name).tables[table] for name in papers.published() for table in papers.load_paper(name).tables]


def cells():
    for table in ALL:
        for row in table.rows:
            for cell in row.cells.values():
                yield table, row, cell
    for name in papers.published():
        for cell in papers.load_paper(name).optional:
            yield None, None, cell


def test_four_papers_with_33_tables():
    assert set(papers.published()) == {"vop", "rap", "mv_adapter", "cross_modal_adapter"}
    assert {name: len(papers.load_paper(name).tables) for name in papers.published()} == {
        "vop": 6,
        "rap": 11,
        "mv_adapter": 12,
        "cross_modal_adapter": 4,
    }


@pytest.mark.parametrize("table", ALL, ids=lambda table: table.id)
def test_every_shown_number_is_printed_and_every_printed_number_is_shown(table):
    assert table.printed_keys() == set(papers.load_paper(table.paper).printed(table.name))


def test_no_printed_number_belongs_to_a_table_that_does_not_exist():
    for name in papers.published():
        paper = papers.load_paper(name)
        with open(paper.folder / "printed.csv", newline="", encoding="utf-8") as stream:
            assert {row["table"] for row in csv.DictReader(stream)} == set(paper.tables)


def test_the_number_of_printed_cells():
    counts = {
        n: sum(len(papers.load_paper(n).printed(t)) for t in papers.load_paper(n).tables) for n in papers.published()
    }
    assert counts == {"vop": 700, "rap": 557, "mv_adapter": 597, "cross_modal_adapter": 610}


def test_printed_numbers_keep_their_digits_and_a_dash_or_a_damaged_cell_has_no_value():
    vop = papers.load_paper("vop").printed("table_3")
    assert vop["VoP", "msrvtt-7k", "t2v", "MdR"].text.endswith(".0")
    share = vop["Full", "msrvtt-7k", "none", "params_percent"]
    assert (share.value, share.cell) == (100.0, "119.8 (100%)")
    damaged = papers.load_paper("rap").printed("table_5")["S-T", "msrvtt-9k", "t2v", "R@10"]
    assert damaged.value is None and damaged.text == "00.7" and "80.7" in damaged.remark
    dash = papers.load_paper("rap").printed("table_2")["VoP^P", "msvd", "t2v", "R@1"]
    assert dash.value is None and dash.text == "-"


def test_printed_sums_are_the_sums_of_the_recalls_but_for_the_one_known_error():
    wrong = []
    for table in ALL:
        values = papers.load_paper(table.paper).printed(table.name)
        for row, dataset, direction, metric in values:
            if metric == "RSum" and (row, dataset, direction, "R@5") in values:
                parts = [values[row, dataset, direction, m].value for m in ("R@1", "R@5", "R@10")]
                if abs(sum(parts) - values[row, dataset, direction, "RSum"].value) > 0.15:
                    wrong.append((table.id, row, direction))
    assert wrong == [("mv_adapter/table_5", "CLIP4Clip", "t2v")]


def test_names_of_data_sets_backbones_and_metrics():
    for table in ALL:
        assert set(table.datasets) <= DATASETS
        shown = {dataset for row in table.rows for dataset in row.cells}
        assert shown == set(table.datasets), table.id
        for column in table.columns:
            assert column.direction in ("t2v", "v2t", None)
            ranked = {"R@1", "R@5", "R@10", "RSum", "MnR", "MdR"}
            costs = {"params_M", "params_percent", "memory_G", "forward_gmacs"}
            assert column.metric in (costs if column.direction is None else ranked)
            if column.direction:
                assert column.best == ("min" if column.metric in ("MnR", "MdR") else "max")
    for _, _, cell in cells():
        assert cell.backbone in BACKBONES and cell.dataset in DATASETS and cell.paper in papers.NAMES


def test_columns_without_a_data_set_stand_only_where_each_row_has_one():
    for table in ALL:
        if any(column.dataset is None for column in table.columns):
            assert all(len(row.cells) == 1 for row in table.rows), table.id


def test_names_fit_a_folder_and_a_command_line():
    for _, _, cell in cells():
        if cell.method:
            assert re.fullmatch(r"[a-z0-9_]+(\+[a-z0-9_]+)*", cell.method)
            for key, value in (cell.setting | cell.variant).items():
                assert re.fullmatch(r"[a-z0-9_.]+", key) and re.fullmatch(r"[A-Za-z0-9_.-]+", str(value))


def test_settings_and_similarities_of_implemented_methods_are_accepted_by_them():
    checked = 0
    for id, run in expand(optional=True, seeds=[0]).runs.items():
        if all(part in methods.available() for part in run.method.split("+")):
            methods.settings(run.method, run.setting)
            checked += 1
        if run.recipe.similarity in similarity.available():
            unknown = set(run.recipe.similarity_setting) - set(similarity.defaults(run.recipe.similarity))
            assert not unknown, id
    assert checked > 50


def test_rows_that_are_only_reported_say_on_what_evidence():
    reported = [(table.id, row.key) for table, row, cell in cells() if table and cell.reported_only]
    assert ("vop/table_2", "Ju et al.") in reported and ("rap/table_8", "X-CLIP") in reported
    for _, _, cell in cells():
        for copied in (cell.reported_only, cell.quoted):
            assert copied is None or copied.evidence


def test_every_paper_says_what_it_leaves_open():
    for name in papers.published():
        assert (papers.load_paper(name).folder / "open.md").read_text(encoding="utf-8").startswith("# What ")
