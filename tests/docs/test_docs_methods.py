"""docs/methods.md says what the code says today."""

import re
from pathlib import Path

import pytest

from petvr import methods, similarity
from petvr.report.docs import facts, page, text

WRITTEN = Path(__file__).parents[2] / "docs" / "methods.md"


@pytest.fixture(scope="module")
def fresh():
    return page.methods_page()


@pytest.mark.slow
def test_the_page_is_fresh(fresh):
    assert WRITTEN.read_text(encoding="utf-8") == fresh, "write it anew: petvr docs methods"


@pytest.mark.slow
def test_every_method_and_similarity_has_a_section_and_every_link_leads_somewhere(fresh):
    sections = re.findall(r"^## (.+)$", fresh, flags=re.M)
    assert {*methods.available(), *(f"similarity {name}" for name in similarity.available())} <= set(sections)
    anchors = {section.replace(" ", "-") for section in sections}
    for target in re.findall(r"\]\(([^)]+)\)", fresh):
        assert target[1:] in anchors if target.startswith("#") else (WRITTEN.parent / target).exists(), target


@pytest.mark.slow
def test_a_section_holds_what_a_reader_looks_for(fresh):
    section = fresh.split("\n## cross_modal_adapter\n")[1].split("\n## ")[0]
    assert "519,168 new numbers" in section and "both towers: `attn_out`, `mlp_out` in every block" in section
    assert (
        "| `cross_modal_adapter@ds=16,r=8` | 0.519 M | 0.52 M, 0.34 % | agrees | cross_modal_adapter 2, 4 |" in section
    )
    assert "nearly CLIP's" in section and "`share=true`" in section


def test_sentences_end_where_a_reader_ends_them():
    assert text.sentences("A of He et al. [2022] meets 2.4 %. Guess: B (eq. 3). `k` is 3.") == [
        "A of He et al. [2022] meets 2.4 %.",
        "Guess: B (eq. 3).",
        "`k` is 3.",
    ]


@pytest.mark.slow
def test_a_section_tells_where_the_values_of_the_papers_rows_come_from(fresh):
    section = fresh.split("\n## vpt\n")[1].split("\n## ")[0]
    assert "- rap `tokens=20`. Guess: not given" in section
    assert "- cross_modal_adapter `tokens=5 | 20 | 40 | 80`. Paper: appendix B" in section
    assert "- cross_modal_adapter `recipe.lr_new=0.002`. Guess: not given for the baselines" in section
    layers = fresh.split("\n## mv_adapter\n")[1].split("\n## ")[0]
    assert "`cmt_layers=3`. By count: meets the printed 2.42 %" in layers and "Paper: table 8" in layers


@pytest.mark.slow
def test_every_method_and_similarity_declares_what_is_open(fresh):
    declared = {name: methods.declared(name).open for name in methods.available()}
    declared |= {f"similarity {name}": similarity.declared(name).open for name in similarity.available()}
    for name, points in declared.items():
        section = fresh.split(f"\n## {name}\n")[1].split("\n## ")[0]
        shown = re.findall(r"^- (.+)$", section.partition("\nOpen:\n")[2], flags=re.M)
        assert points and shown == [text.escape_markdown(point) for point in points], name
        assert all(point.endswith(".") and len(point.split()) > 3 for point in points), name


def test_a_method_of_ones_own_that_cites_nobody_and_has_no_similarity_has_its_line(monkeypatch):
    monkeypatch.setattr(page, "title", lambda name: text.Docstring("Mine", "Mine.", "", ""))
    assert page.overview("bias")[:4] == ("[`bias`](#bias)", "Mine", "", "0.171 M")


def test_a_similarity_that_no_table_shows_says_so(monkeypatch):
    monkeypatch.setattr(facts, "tables_by_similarity", lambda: {"mean_pool": {}})
    assert "\n- **Scores** no row of a table.\n" in page.head_section("mean_pool")


@pytest.mark.parametrize(
    ("numbers", "said"),
    [({0, 1, 2}, "every block"), ({1}, "block 2"), ({1, 2}, "blocks 2 to 3"), ({0, 2}, "blocks 1, 3")],
)
def test_blocks_in_pieces_are_named_one_by_one(numbers, said):
    assert facts.blocks(numbers, 3) == said
