"""No number out of range reaches a job: a recipe is refused in one line, or it trains."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petvr import papers
from petvr.errors import PetvrError
from petvr.papers.recipe import check_overrides
from petvr.retrieval import dsl
from petvr.spec import Recipe, allowed_values, checked_value

NUMBERS = [
    "lr_clip", "lr_new", "lr_head", "weight_decay", "eps", "warmup", "clip_global", "clip_tensor", "logit_scale_max",
    "dsl_temperature",
]  # fmt: skip
COUNTS = ["epochs", "batch", "frames", "words", "evaluations_per_epoch"]
CHOICES = [
    "optimizer", "no_decay", "schedule", "precision", "sampler", "captions", "augment", "data_order", "picture",
    "logit_scale", "selection", "select_by", "dsl",
]  # fmt: skip
REST = ["betas", "drop_last", "similarity", "similarity_setting"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["1e-4", "nan", "inf", "0x8", "010", "\u0663", "1_000", "yes", "true", "-1", "1e400", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


def test_every_field_is_tried_here():
    assert sorted(NUMBERS + COUNTS + CHOICES + REST) == sorted(Recipe.model_fields)


def test_the_forms_of_dual_softmax_are_those_that_exist():
    assert allowed_values("dsl") == ", ".join(["none", *dsl.VARIANTS])


@given(st.sampled_from(sorted(Recipe.model_fields)), anything)
def test_whatever_stands_there_is_refused_in_one_line_or_in_range(key, value):
    where = "recipe.datasets.msvd"
    try:
        check_overrides({"datasets": {"msvd": {key: value}}})
        recipe, _ = papers.load_paper("rap").recipe("msvd", "full", overrides={"datasets": {"msvd": {key: value}}})
    except PetvrError as error:
        text = str(error)
        assert text.startswith(where) and key in text and f"allowed: {allowed_values(key)}" in text
        assert "\n" not in text and len(text) < 500
        return
    found = getattr(recipe, key)
    if key in NUMBERS and found is not None:
        assert type(found) is float and math.isfinite(found) and 0 <= found <= 1e6
    if key in COUNTS:
        assert type(found) is int and 0 <= found <= 2**20 and not isinstance(value, bool | str | float)


BAD = {
    "lr_new": [-1, 1000, math.nan, math.inf, True, "abc", None, [1e-4]],
    "batch": [0, 1, -3, 10**18, 2.5, "8", True, 2**53 + 1],
    "frames": [0, -1, 5_000, 1.0],
    "words": [0, 2, 78],
    "warmup": [5, -1, 1],
    "betas": [[1.9, 0.9], [0.9], 0.9, [0.9, 0.9, 0.9], [0.9, math.nan]],
    "eps": [-1, 0],
    "weight_decay": [-5],
    "clip_global": [-1, 0],
    "logit_scale_max": [0],
    "evaluations_per_epoch": [-1, 10**9],
    "epochs": [0, -1],
    "select_by": ["t2v/R1"],
    "dsl": ["foo"],
    "drop_last": ["yes", 1],
    "precision": ["fp8"],
    "dsl_temperature": [0, -1],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD.items() for value in values])
def test_what_was_once_trained_on_is_refused(key, value):
    with pytest.raises(PetvrError, match="allowed: "):
        check_overrides({"default": {key: value}})


def test_a_number_that_yaml_takes_for_a_text_is_that_number():
    assert checked_value("lr_new", "1e-4", "x") == 1e-4
