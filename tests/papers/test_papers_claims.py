"""claims.yaml of each paper: every row exists, and what the paper's own tables say of its words."""

import pytest

from petvr import papers
from petvr.papers import claims, printed

CONTRADICTED = {
    "vop": {"vop_best_7k", "vop_best_didemo", "vop_best_activitynet", "fc_over_full_activitynet", "fc_over_full_lsmdc"},
    "rap": {"best_of_prompts_and_adapters_msvd", "over_full_msvd", "text_top_k_mdr"},
    "mv_adapter": {
        "margin_t2v_msrvtt", "margin_v2t_msrvtt", "margin_v2t_msvd", "margin_t2v_lsmdc", "margin_v2t_didemo",
        "bottleneck_below_full_t2v", "tying_t2v_activitynet", "tying_v2t_activitynet",
    },
    "cross_modal_adapter": {"over_full_activitynet"},
}  # fmt: skip


def of_paper(name):
    folder = papers.load_paper(name).folder
    numbers = printed.read_printed(folder / "printed.csv")
    return claims.read_claims(folder / "claims.yaml", numbers), numbers


@pytest.mark.parametrize("paper", CONTRADICTED)
def test_what_a_papers_own_tables_contradict(paper):
    found, numbers = of_paper(paper)
    assert {claim.id for claim in found if claims.own_tables(claim, numbers) == "contradict"} == CONTRADICTED[paper]
    sized = [claim for claim in found if claim.kind in ("difference", "margin") and claim.size is not None]
    assert sized and all(claim.size > 0 for claim in sized)


def test_there_are_enough_claims():
    assert sum(len(of_paper(paper)[0]) for paper in CONTRADICTED) >= 140
