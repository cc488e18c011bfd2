import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
sys.path.insert(0, str(Path(__file__).parents[1] / "frames"))
import training_bench

torch.set_num_threads(1)


@pytest.fixture
def bench(tmp_path):
    """The options of a run in a fresh small world."""
    return training_bench.everything(tmp_path)
