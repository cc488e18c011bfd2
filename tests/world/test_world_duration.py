"""The demo's time, said before it starts: arithmetic on jobs, cores and a measured speed."""

import pytest

from petvr.world import duration
from petvr.world.duration import PRODUCTS, SECONDS, expected_minutes


def test_twice_the_cores_or_the_speed_is_half_the_time():
    jobs = {"train": 60, "world": 5, "table": 30}
    low, high = expected_minutes(jobs, 1, PRODUCTS)
    assert low < (60 * SECONDS["train"] + 5 * SECONDS["world"] + 30) / 60 < high
    for half in (expected_minutes(jobs, 2, PRODUCTS), expected_minutes(jobs, 1, 2 * PRODUCTS)):
        assert half == pytest.approx((low / 2, high / 2))


def test_no_number_of_cores_makes_the_tiny_clip_train_faster():
    low, high = expected_minutes({"train": 60, "weights": 1}, 1000, PRODUCTS)
    assert low < (SECONDS["weights"] + SECONDS["train"]) / 60 < high


def test_what_is_said_fits_a_line_of_80_columns(monkeypatch):
    monkeypatch.setattr(duration, "products_per_second", lambda: PRODUCTS / 10)
    text = duration.announcement({"train": 502, "weights": 1, "world": 6}, 128)
    assert text.startswith("petvr: 502 runs, ") and len(text) < 80
    assert "a minute or two" in duration.announcement({"table": 3, "index": 1}, 2)


def test_the_measurement_measures():
    assert duration.products_per_second(0.01) > 0
