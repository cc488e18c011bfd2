"""How many files of ours a reader has to know to follow one training step, and a whole run."""

import sys
from pathlib import Path

import pytest
import training_bench as tiny

import petvr
from petvr.training import run

SOURCE = f"{Path(petvr.__file__).parent}/"
STEP, RUN = 12, 35


def files_passed(work) -> set[str]:
    """Files of petvr in which a function runs while `work` does; a module's own lines at import do not count."""
    files = set()

    def note(frame, event, argument):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(SOURCE) and code.co_name != "<module>":
            files.add(code.co_filename.removeprefix(SOURCE))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return files


@pytest.fixture(autouse=True)
def counted_once():
    """Not here, where the count of the operations is part of the run."""


@pytest.mark.slow
def test_a_step_and_a_run_pass_few_files(bench, monkeypatch):
    """Full tuning of the small world; the step is one call of `train_step`, a later one, when nothing is new."""
    steps, train_step = [], run.train_step
    with monkeypatch.context() as patch:
        patch.setattr(run, "train_step", lambda *given: steps.append(files_passed(lambda: train_step(*given))))
        tiny.train(tiny.spec(), **bench)
    whole = files_passed(lambda: tiny.train(tiny.spec(), **bench))
    print(f"one step: {len(steps[4])} files {sorted(steps[4])}\na run: {len(whole)} files {sorted(whole)}")
    assert len(steps) == 18 and steps[4] < whole
    assert len(steps[4]) <= STEP and len(whole) <= RUN
