"""What a result says a pair cost is what the closed form says."""

import pytest
import training_bench as tiny

from petvr.clip import config
from petvr.costs import compute, formula
from petvr.training.model import Model


@pytest.mark.slow
def test_flops_of_a_run_are_those_of_its_step_or_of_its_evaluation(bench, monkeypatch):
    clip = config.read_config(bench["weights"])
    score = 2 * 2 * clip.embed
    counts = bench["state"].parent / "flops"
    spec = tiny.spec("full", setting={"rule": "everything"}, epochs=1)
    trained = tiny.train(spec, **bench, flop_counts=counts)
    expected = 3 * formula.pair(clip, tiny.FRAMES, tiny.WORDS) - tiny.FRAMES * formula.patches(clip) + 3 * score
    assert trained.cost.flops_per_pair == pytest.approx(expected)
    assert trained.cost.forward_flops == pytest.approx(formula.pair(clip, tiny.FRAMES, tiny.WORDS) + score)
    monkeypatch.setattr(compute, "compute", lambda *given, **choices: pytest.fail("counted again"))
    again = tiny.train(spec.model_copy(update={"seed": 1}), **bench, flop_counts=counts)
    assert again.cost.flops_per_pair == trained.cost.flops_per_pair
    monkeypatch.undo()
    other = tiny.train(
        spec.model_copy(update={"versions": {"training": 9}, "train": False}), **bench, flop_counts=counts
    )
    assert len(list(counts.iterdir())) == 2 and other.cost.flops_per_pair < trained.cost.flops_per_pair
    plain = tiny.train(tiny.spec("zero_shot", train=False), **bench)
    assert plain.cost.flops_per_pair == pytest.approx(formula.pair(clip, tiny.FRAMES, tiny.WORDS) + score)


def test_encoding_is_timed_from_pixels_where_all_was_read_from_a_cache(bench, tmp_path, monkeypatch):
    """Of zero-shot nothing but the cache is computed, whose features a video's time must not be of."""
    shapes = []
    encode = Model.encode_videos
    monkeypatch.setattr(
        Model, "encode_videos", lambda model, pixels, *more: shapes.append(pixels.shape) or encode(model, pixels, *more)
    )
    cost = tiny.train(
        tiny.spec("zero_shot", train=False), **bench, feature_cache=tmp_path / "cache", feature_cache_gib=1.0
    ).cost
    assert cost.prefix_blocks and cost.video_ms > 0 and cost.text_ms > 0
    assert [len(shape) for shape in shapes[-4:]] == [5] * 4 and len(shapes[0]) == 3, "features [V, F, E], then pixels"
