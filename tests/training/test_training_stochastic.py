"""Whether two passes over one video may differ is asked of the modules, whatever they are called."""

import pytest
import torch
import training_bench as tiny
from torch import nn

from petvr.training.model import build_model


class Thinning(nn.Dropout):
    """Dropout under another name."""


class DropoutFree(nn.Module):
    """No dropout, in spite of its name and its attribute."""

    p = 0.5


@pytest.mark.parametrize(
    ("part", "expected"), [(Thinning(0.5), True), (Thinning(0.0), False), (DropoutFree(), False), (None, False)]
)
@pytest.mark.parametrize("side", ["adapted", "similarity"])
def test_dropout_is_known_by_what_it_is(bench, part, expected, side):
    model = build_model(tiny.spec("full"), bench["weights"], torch.device("cpu"))
    if part is not None:
        getattr(model, side).add_module("inserted", part)
    assert model.stochastic is expected


@pytest.mark.parametrize(
    ("method", "setting", "changes", "expected"),
    [
        ("rap", {"hidden": 4, "select": "random"}, {}, True),  # patches chosen at random
        ("rap", {"hidden": 4}, {}, False),
        ("ts2_net", {}, {"similarity": "ts2_net", "similarity_setting": {"tokens": 2, "samples": 20}}, True),  # noise
        ("x_pool", {}, {"similarity": "x_pool"}, True),
        ("x_pool", {}, {"similarity": "x_pool", "similarity_setting": {"dropout": 0.0}}, False),
    ],
)
def test_methods_and_similarities_that_draw_say_so(bench, method, setting, changes, expected):
    model = build_model(tiny.spec(method, setting=setting, **changes), bench["weights"], torch.device("cpu"))
    assert model.stochastic is expected
