"""Every value in force says who states it and where, and what it cites is there."""

import os
import re
from pathlib import Path

import pytest

from petvr import config, methods, papers, planning, similarity
from petvr.errors import PetvrError
from petvr.papers.contents import cited
from petvr.papers.paper import Paper
from petvr.run_ids import spec_of
from petvr.spec import Recipe

TITLES = {papers.load_paper(name).short_title: name for name in papers.NAMES}


@pytest.fixture(scope="module")
def runs():
    """One run of every cell of the default plan, the quoted and the optional ones too."""
    everything = config.load_config([]).model_copy(update={"quoted": True, "optional": True})
    return {run.cell: run for run in planning.plan(everything).runs.values()}.values()


def test_every_value_in_force_has_an_origin_and_a_place(runs):
    counted = 0
    for run in runs:
        head = similarity.settings(run.recipe.similarity, run.recipe.similarity_setting)
        complete = methods.settings(run.method, run.setting)
        values = run.values()
        for part, settings in complete.items():
            for key, value in settings.items():
                names = [f"setting.{key}", f"setting.{part}.{key}"]
                (name,) = [name for name in names if name in values] or pytest.fail(f"{run.id}: {names[0]}")
                assert values[name] == value, (run.id, name)
                counted += 1
        assert {f"similarity.{key}": value for key, value in head.items()}.items() <= values.items()
        assert {f"recipe.{key}" for key in Recipe.model_fields} - {"recipe.similarity_setting"} <= values.keys()
        without = [key for key in values if key not in run.sources or len(run.sources[key].where) < 4]
        assert not without, (run.id, without)
    assert counted > 1244  # so many are in force in the default plan, without the quoted and the optional cells


def test_no_source_is_a_file_of_this_project(runs):
    cited_files = {s.where for run in runs for s in run.sources.values() if re.search(r"\.(yaml|csv|py)\b", s.where)}
    assert not cited_files


def test_a_row_s_own_value_is_cited_where_the_paper_prints_it(runs):
    sources = {run.cell: run.sources for run in runs}
    last = {
        "mv_adapter/msrvtt-9k/vit-b-16/mv_adapter@cmt_layers=6": ("cmt_layers", "paper", "table 8"),
        "mv_adapter/lsmdc/vit-b-16/mv_adapter@cmt_layers=3": ("cmt_layers", "count", "printed 2.42 %"),
        "cross_modal_adapter/msrvtt-9k/vit-b-32/coop@tokens=4": ("tokens", "paper", "appendix B"),
        "cross_modal_adapter/msvd/vit-b-32/coop@tokens=4": ("tokens", "count", "printed size"),
        "vop/didemo/vit-b-32/vop@tokens=8": ("tokens", "main_paper", "8 prompts"),
    }
    for cell, (key, origin, where) in last.items():
        source = sources[cell][f"setting.{key}"]
        assert source.origin == origin and where in source.where, (cell, source)


def test_what_a_person_names_in_an_id_is_that_person_s():
    spec = spec_of(config.load_config([]), "rap/msvd/vit-b-32/lora@lr_new=0.01,rank=2/seed-0")
    for key in ("setting.rank", "recipe.lr_new"):
        assert (spec.sources[key].origin, spec.sources[key].where) == ("config", "the run's id")
    assert spec.sources["setting.targets"].origin == "guess" and spec.values()["setting.targets"] == "joint"


def test_sources_and_defaults_leave_the_digest_alone(runs):
    run = next(iter(runs))
    assert run.model_copy(update={"sources": {}, "defaults": {}}).digest() == run.digest()


def test_what_a_method_s_or_a_similarity_s_settings_cite_is_in_the_paper_they_name():
    for kind in (methods, similarity):
        for name in kind.available():
            for key, setting in kind.declared(name).settings.items():
                if setting.origin != "paper" or setting.where.startswith("Ju et al."):
                    continue  # of a paper without a folder
                named = [paper for title, paper in TITLES.items() if title in setting.where]
                assert len(named) == 1 and list(cited(setting.where)), f"{name}.{key}: {setting.where}"
                papers.load_paper(named[0]).contents.check(setting.where, f"{name}.{key}")


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("recipe.yaml", 'where: "section 4.2"', 'where: "section 4.9"', "recipe.yaml: base.lr_new.where"),
        ("tables.yaml", '{origin: count, where: "meets', '{origin: paper, where: "table 21 meets', "cmt_layers.where"),
        ("claims.yaml", "where: section 5.2", "where: section 5.7", "claims.yaml: over_full_t2v_msrvtt.where"),
    ],
)
def test_a_citation_of_what_the_paper_does_not_have_is_told(tmp_path, file, old, new, told):
    folder = tmp_path / "mv_adapter"
    folder.mkdir()
    for path in papers.load_paper("mv_adapter").folder.iterdir():
        text = path.read_text(encoding="utf-8")
        (folder / path.name).write_text(text.replace(old, new, 1) if path.name == file else text, encoding="utf-8")
    with pytest.raises(PetvrError) as error:
        _ = Paper(folder).claims
    assert told in str(error.value) and "did you mean" in str(error.value)


@pytest.mark.parametrize("name", papers.NAMES)
def test_the_texts_have_what_the_lists_of_contents_name(name):
    """PETVR_PAPERS is a folder with a text of each paper, its name first: rap.txt, vop_supplementary.txt."""
    texts = sorted(Path(os.environ.get("PETVR_PAPERS", "/nowhere")).glob(f"{name}*.txt"))
    if not texts:
        pytest.skip("no texts of the papers: set PETVR_PAPERS to their folder")
    text = re.sub(r"[*#]", "", texts[0].read_text(encoding="utf-8"))
    contents = papers.load_paper(name).contents
    headings = [re.sub(r"\W+", " ", line).strip().lower() for line in text.splitlines()]
    for number, heading in contents.sections.items():
        wanted = re.sub(r"\W+", " ", f"{number} {heading}").lower()
        assert any(line.removeprefix("appendix ").startswith(wanted) for line in headings), (number, heading)
    listed = {"Tab(?:le|\\.)": contents.tables, "Fig(?:ure|\\.)": [str(n + 1) for n in range(contents.figures)]}
    for kind, numbers in listed.items():
        mentioned = set(re.findall(rf"{kind} ?(\d+)", text))
        assert {re.sub("[a-z]", "", number) for number in numbers} == mentioned, kind
