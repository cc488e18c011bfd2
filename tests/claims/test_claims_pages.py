"""From results to a page of claims: what is judged, what cannot be and why, in Markdown and HTML."""

import re

import pytest
from made_up import made_up_results

from petvr import cli, config, papers, planning
from petvr.layout import Layout
from petvr.papers.claims import Claim
from petvr.report.claims.evidence import ClaimEvidence
from petvr.report.claims.judge import ClaimVerdict
from petvr.report.claims.page import PaperClaims
from petvr.result import Result


@pytest.fixture(scope="module")
def made(tmp_path_factory, finished_result):
    """All runs of RAP's tables 1, 4 and 8 and VoP's 2, three seeds each; (command line, plan, layout)."""
    folder = tmp_path_factory.mktemp("made")
    tables = ["rap/table_1", "rap/table_4", "vop/table_2"]
    (folder / "c.yaml").write_text(f"results: {folder / 'results'}\ntables: {tables}\n")
    chosen = config.load_config([folder / "c.yaml"])
    plan, layout = planning.plan(chosen), Layout(chosen.results)
    made_up_results(finished_result, plan, layout, tables)
    return ["-c", str(folder / "c.yaml")], plan, layout


def judged(made, claim, paper="rap"):
    _, plan, layout = made
    if isinstance(claim, str):
        claim = next(each for each in papers.load_paper(paper).claims if each.id == claim)
    return ClaimEvidence(plan, layout, "paper").judge(paper, claim, papers.load_paper(paper).printed_tables)


def test_a_claim_is_judged_from_all_seeds_of_its_rows(made):
    found = judged(made, "lorm_gain")
    assert len(found.runs) == 6 and {run.split("/")[3] for run in found.runs} == {"rap", "ssf+asa"}
    assert found.own_tables == "agree" and found.judgement.difference.value == pytest.approx(2.3, abs=3)
    assert found.judgement.verdict is not ClaimVerdict.UNKNOWN


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        ("rank_three", "table_9 is not among the chosen tables"),
        ("full", "epoch 2 was not evaluated"),
        ("memory", "memory was not measured on one kind of GPU"),
    ],
)
def test_what_cannot_be_judged_says_why(made, claim, why):
    rows = {"a": "table_4/#1", "b": "table_4/#3", "dataset": "msrvtt-9k", "quote": "q", "where": "w"}
    if claim == "full":
        claim = Claim(id="x", kind="difference", metric="t2v R@1", **rows | {"a": "table_4/#1 @ epoch 2"})
    elif claim == "memory":
        claim = Claim(id="x", kind="memory", below=1.0, **rows)
    found = judged(made, claim)
    assert found.judgement.verdict is ClaimVerdict.UNKNOWN and why in found.judgement.why


def test_a_row_that_is_only_quoted_is_left_out_of_several_and_named(made):
    found = judged(made, "vop_best_b16", "vop")
    assert found.judgement.verdict is not ClaimVerdict.UNKNOWN
    assert found.notes == ("Ju et al. is only quoted and left out",)


@pytest.mark.parametrize(
    ("change", "why"), [({"world": "synthetic"}, "another world"), ({"data_class": "C"}, "data of class C")]
)
def test_other_data_give_no_verdict_on_a_paper(made, change, why):
    before = {}
    for run in judged(made, "lorm_gain").runs:
        path = made[2].result(run)
        before[path] = path.read_text()
        result = Result.read(path)
        result.model_copy(update={"data": result.data.model_copy(update=change)}).write(path)
    try:
        found = judged(made, "lorm_gain").judgement
    finally:
        for path, text in before.items():
            path.write_text(text)
    assert found.verdict is ClaimVerdict.UNKNOWN and why in found.why and found.difference is not None


def test_the_page_shows_every_claim(made, capsys):
    words, _, layout = made
    assert cli.main([*words, "claims", "rap"]) == 0
    said = capsys.readouterr().out
    html, markdown = ((layout.claims / f"rap.{kind}").read_text() for kind in ("html", "md"))
    stated = papers.load_paper("rap").claims
    assert re.search(rf"{len(stated)} claims: .*3 contradicted by the paper's own tables", said)
    for claim in stated:
        assert f'id="{claim.id}"' in html
        assert f"“{claim.quote}” ({claim.dataset})" in markdown
    assert html.count("<svg") == markdown.count("[+") + markdown.count("[-") - _effects(markdown)
    assert "its own tables contradict it (-0.2)" in markdown


def test_a_column_adjusts_each_p_over_all_of_a_papers_claims(made):
    """Holm by hand: sorted, each times the number of those not yet passed, never falling."""
    _, plan, layout = made
    evidence, paper = ClaimEvidence(plan, layout, "paper"), papers.load_paper("rap")
    page = PaperClaims(
        "rap", "RAP", [evidence.judge("rap", each, paper.printed_tables) for each in paper.claims], False
    )
    tested = sorted(each.judgement.p for each in page.judged if each.judgement.p is not None)
    assert len(tested) > 4 and sorted(page.adjusted) == sorted(
        each.claim.id for each in page.judged if each.judgement.p is not None
    )
    for each in page.judged:
        if each.judgement.p is None:
            continue
        place = tested.index(each.judgement.p)
        steps = [min(1.0, (len(tested) - n) * p) for n, p in enumerate(tested[: place + 1])]
        assert page.adjusted[each.claim.id] == pytest.approx(max(steps))
        if each.judgement.difference and each.claim.kind == "difference":
            assert each.judgement.p == each.judgement.difference.p
    text = (layout.claims / "rap.md").read_text()
    assert "| p, Holm |" in text
    shown = [line.split(" | ")[-2] for line in text.splitlines() if line.startswith("| “")]
    assert sorted(filter(None, shown)) == sorted(f"{p:.3f}" if p >= 0.001 else "<.001" for p in page.adjusted.values())


def _effects(markdown):
    """Effect ratios have an interval too."""
    return len(re.findall(r"\| -?\d+\.\d\d \[-", markdown))


def test_an_unknown_paper_is_answered_with_the_known_ones(made, capsys):
    assert cli.main([*made[0], "claims", "rapp"]) == 2
    assert "rap" in capsys.readouterr().err


@pytest.mark.parametrize(("damage", "why"), [("altered", "failed"), ("stale", "stale"), ("ranks", "cannot be read")])
def test_a_damaged_or_outdated_run_bears_no_claim_and_stops_no_other(made, damage, why):
    _, plan, layout = made
    run = next(run for run in plan.tables["rap/table_4"].runs if "ssf+asa" in run)
    file = layout.result(run) if damage != "ranks" else layout.run(run) / "ranks.npz"
    before = file.read_bytes()
    try:
        if damage == "altered":
            file.write_bytes(before[:-9])
        elif damage == "ranks":
            file.write_bytes(before[:99])
        else:
            result = Result.read(file)
            result.provenance.spec_digest = "older"
            result.write(file)
        found = judged(made, "lorm_gain")
        assert found.judgement.verdict is ClaimVerdict.UNKNOWN and why in found.judgement.why
    finally:
        file.write_bytes(before)
    assert judged(made, "lorm_gain").judgement.verdict is not ClaimVerdict.UNKNOWN
