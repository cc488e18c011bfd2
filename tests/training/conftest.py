import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import training_bench

from petvr.costs import compute

torch.set_num_threads(1)
_counts = {}


@pytest.fixture
def bench(tmp_path):
    """The options of a run in a fresh small world."""
    return training_bench.everything(tmp_path)


@pytest.fixture(autouse=True)
def counted_once(monkeypatch, count=compute.compute):
    """The operations of equal models are counted once: that takes longer than training so small a one does."""

    def counted(*arguments, **choices):
        key = repr((arguments, choices))
        if key not in _counts:
            _counts[key] = count(*arguments, **choices)
        return _counts[key]

    monkeypatch.setattr(compute, "compute", counted)
