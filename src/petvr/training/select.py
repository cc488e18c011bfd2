"""Which evaluation of a run is reported: every rule is computed for every run."""

from __future__ import annotations

from collections.abc import Sequence

from petvr.errors import PetvrError
from petvr.result import Evaluation

RULES = ("best_on_test", "last")
KEYS = tuple(f"{way}/{metric}" for way in ("t2v", "v2t") for metric in ("R@1", "R@5", "R@10", "RSum", "MdR", "MnR"))


def check(select_by: str) -> None:
    if select_by not in KEYS:
        raise PetvrError(f"recipe.select_by: '{select_by}'; allowed: {', '.join(KEYS)}")


def value(evaluation: Evaluation, select_by: str) -> float:
    """Larger is better: mean and median ranks change sign. Plain scores, never dual-softmax."""
    way, metric = select_by.split("/")
    number = evaluation.plain[way][metric]
    return -number if metric in ("MdR", "MnR") else number


def best(evaluations: Sequence[Evaluation], select_by: str) -> int:
    """Index of the best evaluation; of equal ones the later wins (METHODS A.0).

    Epoch 0, before any training, is never chosen where something was trained: a method that only harms must not show
    CLIP's own number (whether MV-Adapter, which evaluates it too, may choose it is not known).
    """
    candidates = [index for index, evaluation in enumerate(evaluations) if evaluation.step > 0] or [0]
    return max(candidates, key=lambda index: (value(evaluations[index], select_by), index))


def select(evaluations: Sequence[Evaluation], select_by: str) -> dict[str, int]:
    return {"best_on_test": best(evaluations, select_by), "last": len(evaluations) - 1}
