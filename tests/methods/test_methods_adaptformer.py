"""AdaptMLP in both towers, parallel and sequential, against its formula."""

import numpy as np
import pytest
import torch
from clip_by_hand import linear
from places_by_hand import adapt_mlp, check, each, sums, trained

torch.set_num_threads(1)


def one_tower(n, form, where):
    def act(i, frames, read, stream):
        source = frames if form == "sequential" else stream
        return sums(frames, each(lambda x: adapt_mlp(n, f"{where}.{i}", 0.7, x), source))

    return {} if form == "none" else {"mlp_out": act}


@pytest.mark.parametrize(
    ("video", "text"),
    [("parallel", "sequential"), ("sequential", "sequential"), ("none", "parallel"), ("sequential", "none")],
)
def test_parallel_reads_the_stream_and_sequential_the_ffns_output(video, text):
    model = trained("adaptformer", {"video": video, "text": text, "width": 5, "scale": 0.7})
    forms = {"vision": video, "text": text}
    check(model, lambda n, tower: one_tower(n, forms[tower], f"new.adaptformer.{tower}"))


def test_without_a_norm_of_its_own():
    model = trained("adaptformer", {"width": 5, "norm": False})

    def changes(n, tower):
        def act(i, frames, read, stream):
            name = f"new.adaptformer.{tower}.{i}"
            source = stream if tower == "vision" else frames
            hidden = each(lambda x: np.maximum(linear(n, f"{name}.down", x), 0), source)
            return sums(frames, each(lambda x: 0.1 * linear(n, f"{name}.up", x), hidden))

        return {"mlp_out": act}

    check(model, changes)


@pytest.mark.parametrize("biases", [True, False])
def test_clips_biases_train_where_asked_and_stay_in_the_slow_group(biases):
    model = trained("adaptformer", {"width": 5, "biases": biases})
    own = {name for name, _ in model.clip.named_parameters() if name.endswith("bias")}
    assert {name[5:] for name in model.trainable() if model.part(name) == "clip"} == (own if biases else set())
