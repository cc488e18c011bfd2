"""The named samplers against worked examples and arithmetic that does not use their code."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petvr.data.frames.samplers import SAMPLERS, pick
from petvr.errors import PetvrError

FPS_2997 = 30000 / 1001


def picked(name, **facts):
    return pick(name, **facts).tolist()


def clip4clip(n_frames, fps, frames, seconds=None):
    """CLIP4Clip's loop, second by second, stopping at the first frame that cannot be read."""
    last = math.ceil(n_frames / int(fps))
    if seconds is not None:
        last = min(int(seconds), last)
    candidates = []
    for second in range(last + 1):
        if second * int(fps) >= n_frames:
            break
        candidates.append(second * int(fps))
    if len(candidates) <= frames:
        return candidates
    gap = (len(candidates) - 1) / (frames - 1) if frames > 1 else 0
    # NumPy's linspace as it is: what rounds to 251.99999999999997 is 251, only the last position is exact
    return [candidates[math.floor(i * gap)] for i in range(frames - 1)] + [candidates[-1 if frames > 1 else 0]]


def test_int_and_round_see_15_and_14_candidates_of_a_14_second_ntsc_clip():
    # 14 s at 29.97 fps are 420 frames
    assert picked("c4c_1fps_int", n_frames=420, fps=FPS_2997, frames=64) == list(range(0, 420, 29))
    assert len(picked("c4c_1fps_int", n_frames=420, fps=FPS_2997, frames=64)) == 15
    assert picked("round_1fps", n_frames=420, fps=FPS_2997, frames=64) == list(range(0, 420, 30))
    assert len(picked("round_1fps", n_frames=420, fps=FPS_2997, frames=64)) == 14


def test_27_candidates_thinned_to_12_as_in_methods_a3():
    c4c = picked("c4c_1fps_int", n_frames=27 * 25, fps=25, frames=12)
    mv = picked("floor_uniform", n_frames=27 * 25, fps=25, frames=12)
    assert [i // 25 for i in c4c] == [0, 2, 4, 7, 9, 11, 14, 16, 18, 21, 23, 26]
    assert [i // 25 for i in mv] == [0, 2, 4, 6, 9, 11, 13, 15, 18, 20, 22, 24]


def test_uniform_mid_worked_by_hand():
    # 100 frames in 4 intervals [0,25) [25,50) [50,75) [75,100): middles 12, 37, 62, 87
    assert picked("uniform_mid", n_frames=100, fps=25, frames=4) == [12, 37, 62, 87]
    # 10 frames in 4: bounds 0 2 5 7 10, middles (0+1)//2, (2+4)//2, (5+6)//2, (7+9)//2
    assert picked("uniform_mid", n_frames=10, fps=25, frames=4) == [0, 3, 5, 8]
    # shorter than wanted: every frame, then the last again
    assert picked("uniform_mid", n_frames=3, fps=25, frames=5) == [0, 1, 2, 2, 2]


def test_linspace_all_worked_by_hand():
    assert picked("linspace_all", n_frames=100, fps=25, frames=4) == [0, 33, 66, 99]
    assert picked("linspace_all", n_frames=2, fps=25, frames=4) == [0, 0, 0, 1]


def test_didemo_window_gives_at_most_32_frames():
    long = picked("c4c_1fps_int", n_frames=31 * 30 + 1, fps=30, frames=64, seconds=31)
    assert long == [second * 30 for second in range(32)]
    # 29.97: 31 s are 930 frames, of which 32 fit in steps of 29, and a 33rd would be past the window's 31 seconds
    ntsc = picked("c4c_1fps_int", n_frames=930, fps=FPS_2997, frames=64, seconds=31)
    assert ntsc == [second * 29 for second in range(32)]
    assert len(picked("c4c_1fps_int", n_frames=930, fps=FPS_2997, frames=64)) == 33
    assert picked("c4c_1fps_int", n_frames=10 * 30, fps=30, frames=64, seconds=31) == [s * 30 for s in range(10)]
    assert picked("c4c_1fps_int", n_frames=61, fps=30, frames=3, seconds=2) == [0, 30, 60]
    # a length that floating point makes a little too short
    assert picked("c4c_1fps_int", n_frames=76, fps=25, frames=9, seconds=103.1 - 100.1) == [0, 25, 50, 75]


@given(n=st.integers(1, 5000), fps=st.floats(1, 120), frames=st.integers(1, 70))
def test_c4c_is_the_loop_of_clip4clip(n, fps, frames):
    assert picked("c4c_1fps_int", n_frames=n, fps=fps, frames=frames) == clip4clip(n, fps, frames)


@given(n=st.integers(1, 5000), fps=st.floats(1, 60), seconds=st.integers(0, 40))
def test_c4c_with_a_window_is_the_loop_of_clip4clip(n, fps, seconds):
    expected = clip4clip(n, fps, 64, seconds)
    assert picked("c4c_1fps_int", n_frames=n, fps=fps, frames=64, seconds=seconds) == expected


@given(
    name=st.sampled_from(sorted(SAMPLERS)), n=st.integers(1, 3000), fps=st.floats(0.1, 240), frames=st.integers(1, 70),
    seconds=st.none() | st.floats(0, 40),
)  # fmt: skip
def test_indices_are_sorted_inside_the_video_and_not_too_many(name, n, fps, frames, seconds):
    indices = pick(name, n_frames=n, fps=fps, frames=frames, seconds=seconds)
    assert indices.dtype == np.int64
    assert indices.min() >= 0 and indices.max() < n
    assert (np.diff(indices) >= 0).all()
    if name in ("uniform_mid", "linspace_all"):
        assert len(indices) == frames
    else:
        assert len(set(indices.tolist())) == len(indices) <= frames
        if n > frames * (fps + 1) and seconds is None:
            assert len(indices) == frames


@given(n=st.integers(2, 3000), frames=st.integers(2, 70))
def test_who_shows_the_last_frame(n, frames):
    assert pick("linspace_all", n_frames=n, fps=25, frames=frames)[-1] == n - 1
    if n > frames:
        assert pick("floor_uniform", n_frames=n, fps=1, frames=frames)[-1] < n - 1
        assert pick("c4c_1fps_int", n_frames=n, fps=1, frames=frames)[-1] == n - 1
        assert pick("uniform_mid", n_frames=2 * n, fps=25, frames=frames)[-1] < 2 * n - 1


def test_half_a_frame_rounds_up():
    assert picked("round_1fps", n_frames=100, fps=12.5, frames=99)[1] == 13
    assert picked("c4c_1fps_int", n_frames=100, fps=12.5, frames=99)[1] == 12


def test_below_one_frame_per_second_every_frame_is_a_candidate():
    assert picked("c4c_1fps_int", n_frames=5, fps=0.5, frames=12) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "facts, message",
    [
        ({"name": "1fps"}, "unknown sampler '1fps'"),
        ({"n_frames": 0}, "needs frames"),
        ({"fps": 0.0}, "needs frames"),
        ({"fps": math.nan}, "needs frames"),
        ({"frames": 0}, "needs frames"),
        ({"seconds": -1.0}, "must be at least 0"),
        ({"seconds": math.nan}, "must be at least 0"),
    ],
)
def test_bad_input_is_one_clear_error(facts, message):
    facts = {"name": "c4c_1fps_int", "n_frames": 100, "fps": 25.0, "frames": 12} | facts
    name = facts.pop("name")
    with pytest.raises(PetvrError, match=message):
        pick(name, **facts)
