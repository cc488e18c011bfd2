"""docs/papers.md says what the schema reads today, and its examples are read as it says."""

import re
from pathlib import Path

import pytest
import yaml

from petvr import papers
from petvr.papers.paper import Paper
from petvr.report.docs import papers_page
from petvr.spec import Recipe

WRITTEN = Path(__file__).parents[2] / "docs" / "papers.md"


@pytest.fixture(scope="module")
def fresh():
    return papers_page.papers_page()


def test_the_page_is_fresh(fresh):
    assert WRITTEN.read_text(encoding="utf-8") == fresh, "write it anew: petvr docs papers"


def test_every_key_has_a_type_and_a_meaning_and_every_link_leads_somewhere(fresh):
    keys = re.findall(r"^\| `(\w+)` \| ([^|]*) \| [^|]* \| ([^|]*) \|$", fresh, flags=re.M)
    described = {key for key, *_ in keys}
    assert set(Recipe.model_fields) | {"counting", "columns", "recipe", "evidence", "mark_params"} <= described
    assert [key for key, kind, meaning in keys if not kind.strip() or not meaning.strip()] == []
    anchors = {papers_page.anchor(heading) for heading in re.findall(r"^## (.+)$", fresh, flags=re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", fresh):
        assert target[1:] in anchors if target.startswith("#") else (WRITTEN.parent / target).exists(), target


def test_every_key_in_use_is_on_the_page(fresh):
    """Keys of all four folders, at any depth below tables and rules, that are not names of the paper's own."""
    used = set()
    for name in papers.NAMES:
        for file in ("recipe.yaml", "tables.yaml", "claims.yaml"):
            data = yaml.safe_load((papers.load_paper(name).folder / file).read_text(encoding="utf-8"))
            used.update(data)
            for table in data.get("tables", {}).values():
                used.update(table)
                used.update(key for row in table["rows"] for key in row)
            used.update(key for claim in data.get("claims", []) for key in claim)
    assert len(used) > 25 and {key for key in used if f"| `{key}` |" not in fresh} == set()


def test_the_examples_are_a_table_and_rules_that_are_read(fresh, tmp_path):
    recipe, tables = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", fresh, flags=re.S))
    rap = yaml.safe_load((papers.load_paper("rap").folder / "recipe.yaml").read_text(encoding="utf-8"))
    whole = {"title": "A fifth paper", "short_title": "Fifth", "year": 2026, **recipe}
    whole["base"] = rap["base"] | recipe["base"]
    contents = {"sections": {"3.3": "Selection", "4.1": "Details"}, "tables": ["1"], "figures": 0, "equations": 0}
    files = {"recipe": whole, "tables": tables, "contents": contents, "claims": {"claims": []}}
    (folder := tmp_path / "fifth").mkdir()
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    (folder / "printed.csv").write_text(re.search(r"```text\n(.*?)```", fresh, flags=re.S)[1], encoding="utf-8")
    (folder / "open.md").write_text("# What the fifth leaves open\n\n- All.\n", encoding="utf-8")
    paper = Paper(folder)
    assert paper.recipe("msrvtt-9k", "full")[0].epochs == 20 and paper.recipe("msrvtt-9k", "lora")[0].epochs == 5
    printed = paper.printed("table_1")
    assert set(printed) <= paper.tables["table_1"].printed_keys() and len(printed) == 2 and paper.claims == []
