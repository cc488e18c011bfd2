import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
sys.path.insert(0, str(Path(__file__).parents[1] / "frames"))
import frames_zoo as zoo
import made_runs
import training_bench as tiny

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """A folder `results` with the weights of the tiny CLIP."""
    folder = tmp_path_factory.mktemp("project") / "results"
    tiny.write_weights(folder / "weights" / "tiny")
    return folder


@pytest.fixture
def finished_run(results, finished_result):
    """`finished_run(spec)`: the folder of a run as training leaves it, its trained tensors moved by chance."""

    def make(spec, results=results):
        both = {"t2v": made_runs.PLAIN, "v2t": made_runs.PLAIN}
        return made_runs.write_run(spec, finished_result(spec, both), results)

    return make


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Five video files that differ, of several lengths, one of them shorter than the frames a model looks at."""
    folder = tmp_path_factory.mktemp("clips")
    return [
        zoo.write(folder / f"{name}.mp4", codec="libx264", frames=frames, fps=10, size=(64, 48))
        for name, frames in (("a", 31), ("b", 44), ("c", 2), ("d", 57), ("e", 70))
    ]
