"""Every table of the four papers can be drawn, before and after anything is measured."""

from __future__ import annotations

import csv
import io
import re

import pytest
from table_factory import result

from petvr import papers, planning, workflow
from petvr.commands.table import measured_tables
from petvr.config import load_config
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.papers.implemented import Implemented
from petvr.papers.plan import expand
from petvr.report.tables import FORMATS, completeness, html, latex, markdown, measure_table, render, result_reader


@pytest.fixture(scope="module")
def plan():
    return expand()


def test_the_row_to_compare_with_is_the_configurations_then_the_tables(tmp_path):
    def planned(text):
        (tmp_path / "c.yaml").write_text(f"tables: [rap/table_9, rap/table_1]\nagainst: {text}\n")
        return planning.plan(load_config([tmp_path / "c.yaml"])).tables

    assert planned("{}")["rap/table_9"].against == "R=3"
    chosen = planned("{rap/table_9: R=1, rap/table_1: RAP, vop/table_3: Bias}")  # the last one is not among the chosen
    assert (chosen["rap/table_9"].against, chosen["rap/table_1"].against) == ("R=1", "RAP")
    assert workflow.table_digest(chosen["rap/table_1"], "paper", False) != workflow.table_digest(
        planned("{}")["rap/table_1"], "paper", False
    )
    for text, told in (("{rap/table_1: RAPP}", "against.rap/table_1: .*'RAP'"), ("{rap/table_l: RAP}", "rap/table_1")):
        with pytest.raises(PetvrError, match=told):
            planned(text)


@pytest.fixture(scope="module")
def rendered(plan, tmp_path_factory):
    """(table, format) -> text, before anything is measured."""
    results = tmp_path_factory.mktemp("results")
    read = result_reader(results)
    built = {name: measure_table(plan, name, results, read=read) for name in plan.tables}
    return {(name, suffix): render(table, suffix) for name, table in built.items() for suffix in FORMATS}


def test_completeness_is_told_without_measuring_all_of_a_table(plan, tmp_path):
    name = "vop/table_1"
    for run in plan.tables[name].rows[1].cells["msrvtt-9k"].runs:
        result(plan.runs[run], 40.0).write(Layout(tmp_path).result(run))
    read = result_reader(tmp_path)
    assert completeness(plan, name, read) == measure_table(plan, name, tmp_path, read=read).completeness == (1, 3)


@pytest.mark.slow
def test_nothing_measured_every_printed_value_stands(plan, rendered):
    """And none twice: the numbers of the tables are exactly those of the papers' printed.csv."""
    for name in plan.tables:
        lines = csv.DictReader(io.StringIO(rendered[name, "csv"]))
        shown = sorted(float(line["printed"]) for line in lines if line["kind"] == "aggregate" and line["printed"])
        paper, table = name.split("/")
        wanted = papers.load_paper(paper).printed(table).values()
        assert shown == sorted(cell.value for cell in wanted if cell.value is not None), name


def test_every_note_of_a_table_and_of_a_row_is_in_every_format(plan, rendered):
    escaped = {"md": markdown.escape, "tex": latex.escape, "html": lambda text: str(html.superscript(text)), "csv": str}
    known = 0
    for name, table in plan.tables.items():
        texts = {suffix: rendered[name, suffix].replace('""', '"') for suffix in FORMATS}
        for note in filter(None, [table.note, *(row.note for row in table.rows)]):
            known += 1
            for suffix, escape in escaped.items():
                assert escape(note) in texts[suffix], (name, suffix, note)
    assert known > 100


def test_the_columns_with_which_a_paper_labels_its_rows_are_columns_in_every_format(plan, rendered):
    labelled = [table for table in plan.tables.values() if table.label_columns]
    assert {table.id for table in labelled} == {
        "rap/table_4", "rap/table_7", "rap/table_9", "rap/table_11", "mv_adapter/table_6b"
    }  # fmt: skip
    for table in labelled:
        lines = list(csv.DictReader(io.StringIO(rendered[table.id, "csv"])))
        heads = [*filter(None, [table.row_heading]), *table.label_columns]
        assert f"| {' | '.join(heads)} |" in rendered[table.id, "md"]
        assert f"{' & '.join(heads)} & " in rendered[table.id, "tex"]
        for row in table.rows:
            (labels,) = {tuple(line[name] for name in table.label_columns) for line in lines if line["row"] == row.name}
            assert labels == row.labels
            cells = [*([markdown.escape(row.name)] if table.row_heading else []), *row.labels]
            assert any(re.sub("<sup>.*?</sup>", "", line).startswith(f"| {' | '.join(cells)} |")
                       for line in rendered[table.id, "md"].splitlines()), (table.id, row.name)  # fmt: skip
        for head in table.label_columns:
            assert re.search(rf'<th scope="col"[^>]*>{head}</th>', rendered[table.id, "html"])
    assert "| #1" not in rendered["rap/table_4", "md"]  # a hash would be a heading: it is escaped


def test_what_a_paper_emphasises_and_what_is_lost_can_be_seen(plan, rendered):
    """Nothing is measured, so that all emphasis is the paper's."""
    for name, table in plan.tables.items():
        printed = [number for number in table.printed.values() if number.value is not None]
        bold = sum(number.emphasised == "bold" for number in printed)
        under = sum(number.emphasised == "underline" for number in printed)
        body = rendered[name, "tex"][rendered[name, "tex"].index(r"\midrule") :]
        assert len(re.findall(r"\*\*[^*]+\*\*", rendered[name, "md"])) == bold == body.count(r"\textbf{")
        assert rendered[name, "md"].count("<u>") == under == body.count(r"\underline{")
        assert rendered[name, "html"].count('class="best"') == bold
        lost = [number for number in printed if number.reconstructed]
        assert all(f"{number.digits}‡" in rendered[name, "md"] for number in lost)
        assert (r"$^\ddagger$" in rendered[name, "tex"]) == bool(lost)
    assert "**46.2±0.5**" in rendered["mv_adapter/table_1", "md"]
    assert "±1.0" in rendered["mv_adapter/table_1", "md"] and "±1 " not in rendered["mv_adapter/table_1", "md"]


@pytest.mark.slow
def test_every_printed_size_stands_beside_ours_counted_alike(tmp_path):
    """321 figures, those of rows that are not run included; the 322nd is damaged beyond reading."""
    config = load_config([]).model_copy(update={"results": tmp_path})
    compared, agree = 0, 0
    for table in measured_tables(config, planning.plan(config), planning.plan(config).tables, counted=True):
        for row in table.rows:
            for entry in row.entries:
                if entry.printed and entry.printed.value is not None and entry.column.metric.startswith("params"):
                    assert entry.ours and entry.difference is not None and entry.check, (table.planned.id, row.planned)
                    compared += 1
                    agree += entry.comparison == "inside"
                    assert entry.comparison == "inside" or ": " in entry.check, "what no count meets needs its reason"
                    assert (entry.comparison == "inside") == (abs(entry.difference) <= 10.0**-entry.printed.decimals)
                if entry.column.metric == "forward_gmacs":
                    assert abs(entry.difference) < 2 or row.planned.name == "LoRA", "printed far above its own kind"
    assert (compared, agree) == (321, 274)


def test_a_printed_value_stands_in_its_own_row_and_column(plan, tmp_path):
    text = render(measure_table(plan, "vop/table_3", tmp_path), "md")
    paper = text.splitlines()[[line.startswith("| VoP |") for line in text.splitlines()].index(True) + 1]
    assert paper.startswith("| ↳ paper | 0.1 | 0.103 | – | 39.7 | 66.7 | 77.9 | 16.7 | 2.0 | 41.4 |")
    heads = next(line for line in text.splitlines() if "Params (M)" in line)
    assert heads.startswith(
        "| Method | Params (M) | Params (%) | trains (M) | T→V R@1 | T→V R@5 | T→V R@10 | T→V MnR | T→V MdR | V→T R@1"
    )


def test_data_sets_in_columns_each_keep_their_own_values(plan, tmp_path):
    for seed in (0, 1, 2):
        for dataset, r1 in {"didemo": 41.0, "msvd": 45.0}.items():
            row = next(row for row in plan.tables["rap/table_2"].rows if row.name == "RAP")
            run = plan.runs[row.cells[dataset].runs[seed]]
            result(run, r1 + seed, data={"digest": dataset}).write(Layout(tmp_path).result(run))
    built = measure_table(plan, "rap/table_2", tmp_path)
    row = next(row for row in built.rows if row.planned.name == "RAP")
    means = {entry.column.key: entry.ours.mean for entry in row.entries if entry.ours}
    assert (means["didemo:t2v:R@1"], means["msvd:t2v:R@1"]) == (42.0, 46.0)
    assert "activitynet:t2v:R@1" not in means
    text = render(built, "md")
    assert re.search(
        r"\| RAP<sup>[\d, ]+</sup> \| <u>42\.0±1\.0</u> .*DiDeMo: 3, MSVD: 3, ActivityNet: missing \|", text
    )


def test_methods_that_do_not_exist_stand_as_not_implemented(tmp_path):
    plan = expand(tables=["vop/table_3"], implemented=Implemented(methods={"full", "vop"}))
    text = render(measure_table(plan, "vop/table_3", tmp_path), "md")
    assert re.search(r"\| Bias \| – .*not implemented: bias", text)
    assert re.search(r"\| Full \| – .*missing", text)


def test_an_unknown_table_is_named(plan, tmp_path):
    with pytest.raises(PetvrError, match=r"unknown table 'vop/table_33'.*vop/table_3"):
        measure_table(plan, "vop/table_33", tmp_path)


@pytest.mark.slow
def test_a_row_built_from_a_description_says_so_in_every_table_and_format(plan, tmp_path):
    with_it = [f"mv_adapter/table_{number}" for number in range(1, 6)]
    for name in with_it:
        built = measure_table(plan, name, tmp_path)
        for said in ("approximation: no code is public", "how tokens are grouped", "label denoising"):
            assert all(said in render(built, suffix) for suffix in FORMATS), (name, said)
    assert "approximation" not in render(measure_table(plan, "vop/table_3", tmp_path), "md")


def test_a_row_a_paper_only_quotes_gains_a_measured_value_beside_the_printed_one(tmp_path):
    """Every such row with a method, with the systems they name; one of them drawn."""
    asked = expand(quoted=True)
    rows = {
        (name, row.name): row
        for name, table in expand().tables.items()
        for row in table.rows
        if any(cell.unavailable == "reported only" for cell in row.cells.values())
    }
    assert {name for _, name in rows} == {
        "CLIP2Video", "X-Pool", "TS2-Net", "X-CLIP", "Ju et al.", "VoP^P", "VoP^C"
    }  # fmt: skip
    for table in asked.tables.values():
        for row in table.rows:
            for dataset, cell in row.cells.items():
                if row.name not in ("VoP^P", "VoP^C"):  # dashes where RAP has no figure to quote
                    assert cell.unavailable != "reported only" and len(cell.runs) >= 1, (table.id, row.name, dataset)
    row = next(row for row in asked.tables["rap/table_8"].rows if row.name == "X-CLIP")
    for seed, id in enumerate(row.cells["msrvtt-9k"].runs):
        result(asked.runs[id], 40.0 + seed, data={"digest": "one"}).write(Layout(tmp_path).result(asked.runs[id]))
    built = measure_table(asked, "rap/table_8", tmp_path)
    entries = [entry for row in built.rows if row.planned.name == "X-CLIP" for entry in row.entries if entry.ours]
    assert entries[0].ours.mean == 41.0 and entries[0].printed is not None
