"""Batches: which samples, in which order, and from any step on."""

import numpy as np
import pytest
import torch
import training_bench as tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from petvr.data.frames.store import FrameStore
from petvr.errors import PetvrError
from petvr.training.batches import Batches, BatchReader, FrameReader
from petvr.training.evaluate import evaluation_steps

OWNER = np.repeat(np.arange(10), 3)


def make(**changes):
    options = {"policy": "all_pairs", "order": "by_seed", "batch": 4, "drop_last": False, "seed": 0} | changes
    return Batches(OWNER, **options)


def epoch(batches, number=0):
    steps = range(number * batches.per_epoch, (number + 1) * batches.per_epoch)
    return [batches.at(step).captions.tolist() for step in steps]


def flat(lists):
    return [item for part in lists for item in part]


def test_all_pairs_visits_every_caption_once_an_epoch():
    batches = make()
    assert sorted(flat(epoch(batches))) == list(range(30))
    assert [len(batch) for batch in epoch(batches)] == [4] * 7 + [2]
    assert epoch(batches, 0) != epoch(batches, 1)


def test_drop_last_leaves_the_small_batch_out():
    assert [len(batch) for batch in epoch(make(drop_last=True))] == [4] * 7


def test_one_per_video_draws_another_caption_each_epoch():
    batches = make(policy="one_per_video")
    seen = [sorted(flat(epoch(batches, number))) for number in range(30)]
    for captions in seen:
        assert OWNER[captions].tolist() == list(range(10))
    assert len({tuple(captions) for captions in seen}) > 1
    assert set(flat(seen)) == set(range(30))


def test_the_order_follows_the_seed_or_does_not():
    assert epoch(make(seed=0)) == epoch(make(seed=0))
    assert epoch(make(seed=0)) != epoch(make(seed=1))
    assert epoch(make(order="fixed", seed=0)) == epoch(make(order="fixed", seed=1))
    drawn = [make(policy="one_per_video", order="fixed", seed=seed) for seed in (0, 1)]
    assert [OWNER[batch].tolist() for batch in epoch(drawn[0])] == [OWNER[batch].tolist() for batch in epoch(drawn[1])]
    assert epoch(drawn[0]) != epoch(drawn[1])


@settings(max_examples=25)
@given(st.sampled_from(["all_pairs", "one_per_video"]), st.integers(0, 40), st.integers(0, 5))
def test_any_step_can_be_asked_for_first(policy, step, seed):
    walked = make(policy=policy, seed=seed)
    for before in range(step):
        walked.at(before)
    jumped = make(policy=policy, seed=seed)
    assert walked.at(step).captions.tolist() == jumped.at(step).captions.tolist()


def test_each_video_of_a_batch_is_named_once():
    batches = make(batch=12)
    for step in range(batches.per_epoch):
        batch = batches.at(step)
        assert len(set(batch.videos.tolist())) == len(batch.videos)
        assert batch.videos[batch.video_of_sample].tolist() == OWNER[batch.captions].tolist()


def test_videos_without_captions_are_passed_over():
    batches = Batches([0, 0, 3], policy="one_per_video", order="by_seed", batch=2, drop_last=False, seed=0)
    assert batches.at(0).videos.tolist() == [0, 3]


def test_bad_settings_are_named():
    with pytest.raises(PetvrError, match=r"recipe.captions: unknown caption policy 'all'"):
        make(policy="all")
    with pytest.raises(PetvrError, match=r"recipe.data_order"):
        make(order="random")
    with pytest.raises(PetvrError, match="batch 31 is larger than the 30 training samples"):
        make(batch=31, drop_last=True)


def test_evaluations_are_spread_over_the_epoch():
    assert evaluation_steps(7, 2, 1) == {7: 1, 14: 2}
    assert evaluation_steps(10, 2, 2) == {5: 1, 10: 1, 15: 2, 20: 2}
    assert list(evaluation_steps(25, 1, 10)) == [3, 5, 8, 10, 13, 15, 18, 20, 23, 25]
    assert evaluation_steps(2, 1, 10) == {1: 1, 2: 1}
    assert evaluation_steps(7, 3, 0) == {21: 3}


@pytest.mark.parametrize("depth", [0, 3])
def test_batches_are_read_ahead_in_their_order_from_buffers_used_again(bench, depth):
    store = FrameStore(bench["store"])
    parts = [np.arange(start, min(start + 5, 24)) for start in range(0, 24, 5)]
    asked = []
    reader = FrameReader(store, tiny.videos()[:24], torch.device("cpu"))
    frames = BatchReader(reader, lambda n: asked.append(n) or parts[n], len(parts), 5, depth)
    memory = set()
    for number in [0, 1, 2, 3, 4, 1]:  # and once more, as a run that continues
        pixels, mask = frames.read(number)
        expected = store.get([tiny.videos()[video] for video in parts[number]])
        assert np.array_equal(pixels.numpy(), expected[0]) and np.array_equal(mask.numpy(), expected[1])
        memory.add(pixels.data_ptr())
        if number == 0:
            assert sorted(frames.waiting) == ([1, 2] if depth else [])
    if depth:
        frames.videos_at = lambda n: np.array([99])
        with pytest.raises(IndexError):  # what a thread meets is met by who reads
            frames.read(0)
    else:
        assert len(memory) == 1 and asked == [0, 1, 2, 3, 4, 1]
