"""MV-Adapter's rebuilt Cross-Modal Adapter against its formula."""

import numpy as np
import pytest
import torch
from clip_by_hand import linear, norm
from places_by_hand import IDS, check, each, sums, trained

from petvr.errors import PetvrError

torch.set_num_threads(1)


@pytest.mark.parametrize("ds", [4, 12])
def test_own_channels_come_first_and_shared_ones_last(ds):
    """With ds = 12, as wide as the text tower, that tower has no channels of its own."""

    def changes(n, tower):
        def act(i, frames, read, stream):
            name, both = f"new.cm_adapter.{tower}.{i}", f"new.cm_adapter.shared.{i}"

            def adapter(x):
                h = norm(x, n[f"{name}.norm.weight"], n[f"{name}.norm.bias"])
                z = np.maximum(linear(n, f"{name}.down", h), 0)
                parts = []
                if ds < len(x):
                    parts.append(z @ n[f"{name}.up.weight"] + n[f"{name}.up.bias"])
                parts.append(z @ n[f"{both}.weight"] + n[f"{both}.bias"])
                return 0.7 * np.concatenate(parts)

            return sums(frames, each(adapter, frames))

        return {"mlp_out": act}

    model = trained("cm_adapter", {"ds": ds, "width": 5, "scale": 0.7})
    assert ("new.cm_adapter.text.0.up.weight" in model.trainable()) == (ds < 12)
    check(model, changes)


def test_a_step_on_texts_alone_moves_the_frames_features():
    model = trained("cm_adapter", {"ds": 4, "width": 5, "biases": False})
    pixels = torch.randn(1, 1, 3, 12, 12)
    with torch.no_grad():
        before = model.encode_frames(pixels)
    model.encode_texts(torch.tensor([IDS])).square().sum().backward()
    touched = {name for name, parameter in model.trainable().items() if parameter.grad is not None}
    assert {name for name in touched if "vision" not in name} == touched
    with torch.no_grad():
        for name in touched:
            model.trainable()[name].sub_(model.trainable()[name].grad, alpha=0.1)
        assert not torch.equal(before, model.encode_frames(pixels))


def test_more_shared_channels_than_the_narrower_tower_has_are_refused():
    with pytest.raises(PetvrError, match="'ds': 13 given, allowed: 1 to 12"):
        trained("cm_adapter", {"ds": 13})
