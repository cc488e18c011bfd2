"""A run that is killed or asked to stop anywhere ends as if nothing had happened, to the last bit."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import training_bench as tiny

from petvr import training
from petvr.clip import compiled
from petvr.errors import PetvrError
from petvr.result import Result
from petvr.training import checkpoint, run
from petvr.training.determinism import name_refused_kernels, prepare_device
from petvr.training.signals import StopRequested, StopSignal

pytestmark = pytest.mark.slow  # kills trainings and resumes them

HERE = Path(__file__).parent


def start(folder, place):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "training_child.py"), str(folder), place]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    result = tiny.train(tiny.resumable(), **tiny.everything(folder))
    return tiny.outcome(result, folder / "out")


@pytest.mark.parametrize("place", ["step:17", "evaluation:3", "checkpoint:2", "result"])
def test_a_killed_run_ends_bit_for_bit_as_an_uninterrupted_one(place, tmp_path, uninterrupted):
    options = tiny.everything(tmp_path)
    child = start(tmp_path, place)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / "out" / "result.json").exists()
    assert list((tmp_path / "state").glob("step-*.safetensors"))
    result = tiny.train(tiny.resumable(), **options)
    assert tiny.outcome(result, tmp_path / "out") == uninterrupted
    assert result.cost.resumed == 1
    assert Result.read(tmp_path / "out" / "result.json") == result
    assert not (tmp_path / "state").exists()


def test_leaving_between_any_two_steps_changes_nothing(bench, uninterrupted, monkeypatch):
    """Stopped after every single step and evaluation, and started again as often."""
    result, starts = None, 0

    @contextlib.contextmanager
    def stopped_after_one_thing():
        stop = StopSignal()
        with pytest.MonkeyPatch.context() as patch:
            for name in ("train_step", "evaluate_step"):
                original = getattr(run, name)
                patch.setattr(run, name, lambda *given, one=original: (one(*given), stop.request("SIGTERM")))
            yield stop

    monkeypatch.setattr(run, "catch_signals", stopped_after_one_thing)
    while result is None:
        starts += 1
        try:
            result = tiny.train(tiny.resumable(), **bench)
        except StopRequested as left:
            assert left.code == training.EXIT_CHECKPOINTED
    assert tiny.outcome(result, bench["out"]) == uninterrupted
    assert starts == 9 + 4 + 1 and result.cost.resumed == starts - 1


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGUSR2, marks=pytest.mark.slow)])
def test_a_signal_ends_the_process_with_the_named_code_and_its_state(number, tmp_path, uninterrupted):
    options = tiny.everything(tmp_path)
    log = tmp_path / "out" / "log.txt"
    child = start(tmp_path, "waiting")
    while not (tmp_path / "waiting").exists():
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(number)
    (tmp_path / "go").touch()
    child.communicate()
    assert child.returncode == training.EXIT_CHECKPOINTED
    assert f"{number.name} at step 5 of 9" in log.read_text() and "the state is saved" in log.read_text()
    result = tiny.train(tiny.resumable(), **options)
    assert tiny.outcome(result, tmp_path / "out") == uninterrupted


@pytest.mark.parametrize("micro_batch", [None, 3])
def test_a_compiled_run_that_was_left_ends_bit_for_bit_too(micro_batch, tmp_path, monkeypatch):
    def leave(state):
        if state.step == 5:
            raise StopRequested("SIGTERM")

    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    options = {"compile": True, "micro_batch": micro_batch}
    whole = tiny.train(tiny.resumable(), **tiny.everything(tmp_path / "whole"), **options)
    places = tiny.everything(tmp_path / "left")
    with pytest.raises(StopRequested):
        tiny.train(tiny.resumable(), **places, **options, watch=leave)
    torch._dynamo.reset()  # as a new process has it
    result = tiny.train(tiny.resumable(), **places, **options)
    assert result.cost.resumed == 1 and result.cost.compile_seconds > 0
    assert tiny.outcome(result, places["out"]) == tiny.outcome(whole, tmp_path / "whole" / "out")
    assert "graphs are compiled" in (places["out"] / "log.txt").read_text()


def test_an_evaluation_is_left_early_and_done_again(bench, uninterrupted, monkeypatch):
    asked = []

    def raise_if_stopped(self):
        asked.append(1)
        if len(asked) == 7:
            self.request("SIGUSR2")
        original(self)

    original = StopSignal.raise_if_stopped
    monkeypatch.setattr(StopSignal, "raise_if_stopped", raise_if_stopped)
    with pytest.raises(StopRequested):
        tiny.train(tiny.resumable(), **bench)
    assert tiny.outcome(tiny.train(tiny.resumable(), **bench), bench["out"]) == uninterrupted


def stopped(bench, at=(4, 6), **changes):
    """Leaves checkpoints of the given steps behind, as a killed run does."""

    class Killed(Exception):
        pass

    def save_if_due(checkpoints, state):
        if state.step in at:
            assert checkpoints.save(state)
        if state.step == at[-1]:
            raise Killed

    spec = tiny.resumable()
    spec = spec.model_copy(update={"recipe": spec.recipe.model_copy(update=changes)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.Checkpointer, "save_if_due", save_if_due)
        with pytest.raises(Killed):
            tiny.train(spec, **bench)
    return sorted(bench["state"].glob("step-*.safetensors"))


def test_a_truncated_checkpoint_is_named_and_the_one_before_is_taken(bench, uninterrupted):
    older, newer = stopped(bench)
    newer.write_bytes(newer.read_bytes()[:-100])
    result = tiny.train(tiny.resumable(), **bench)
    assert tiny.outcome(result, bench["out"]) == uninterrupted
    log = (bench["out"] / "log.txt").read_text()
    assert f"warning: {newer}: truncated or no checkpoint" in log and f"continuing with {older.name}" in log
    assert "continuing at step 4 of 9" in log


def test_a_flipped_bit_is_found(bench, uninterrupted):
    _, newer = stopped(bench)
    data = bytearray(newer.read_bytes())
    data[-5] ^= 1
    newer.write_bytes(data)
    assert tiny.outcome(tiny.train(tiny.resumable(), **bench), bench["out"]) == uninterrupted
    assert f"warning: {newer}: damaged" in (bench["out"] / "log.txt").read_text()


def test_without_a_usable_checkpoint_the_run_starts_again(bench, uninterrupted):
    for path in stopped(bench):
        path.write_bytes(b"")
    result = tiny.train(tiny.resumable(), **bench)
    assert tiny.outcome(result, bench["out"]) == uninterrupted
    assert result.cost.resumed == 0
    assert "starting from the beginning" in (bench["out"] / "log.txt").read_text()


def test_a_checkpoint_of_another_recipe_is_not_taken(bench, uninterrupted):
    _, foreign = stopped(bench, lr_new=0.5)
    result = tiny.train(tiny.resumable(), **bench)
    assert tiny.outcome(result, bench["out"]) == uninterrupted
    assert result.cost.resumed == 0
    assert f"warning: {foreign}: of another recipe, data or weights" in (bench["out"] / "log.txt").read_text()


def test_a_foreign_file_under_the_runs_own_name_is_not_taken(bench, uninterrupted):
    _, mine = stopped(bench)
    foreign = checkpoint.Checkpoint(9, {"model/x": torch.zeros(2)}, {})
    written = checkpoint.write_checkpoint(bench["state"] / "other", foreign, {"spec": "another"})
    written.rename(mine)
    result = tiny.train(tiny.resumable(), **bench)
    assert tiny.outcome(result, bench["out"]) == uninterrupted
    assert f"warning: {mine}: of another run (spec another" in (bench["out"] / "log.txt").read_text()


def test_only_the_two_newest_checkpoints_are_kept(bench):
    assert [path.name[:14] for path in stopped(bench, at=(2, 4, 6))] == ["step-000000004", "step-000000006"]


def test_resume_false_starts_again(bench, uninterrupted):
    stopped(bench)
    result = tiny.train(tiny.resumable(), **bench, resume=False)
    assert result.cost.resumed == 0 and tiny.outcome(result, bench["out"]) == uninterrupted


def test_two_processes_cannot_do_one_run(bench):
    with checkpoint.lock_state(bench["state"]), pytest.raises(PetvrError, match="another process is at this run"):
        tiny.train(tiny.resumable(), **bench)


def test_a_checkpoint_that_cannot_be_written_does_not_stop_the_run(bench, uninterrupted, monkeypatch):
    def full(path, tensors, metadata):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write", full)
    result = tiny.train(tiny.resumable(), **bench, checkpoint_steps=2)
    assert tiny.outcome(result, bench["out"]) == uninterrupted
    assert "No space left on device; going on without this checkpoint" in (bench["out"] / "log.txt").read_text()


def test_a_kernel_that_cannot_be_repeated_is_refused_by_name_unless_that_is_allowed(bench):
    spec = tiny.spec(epochs=1)
    with pytest.raises(PetvrError, match="put_ has no deterministic kernel on this device; `deterministic: false`"):
        prepare_device("cpu", 1)
        with name_refused_kernels():
            torch.zeros(3).put_(torch.tensor([1]), torch.ones(1))
    strict = tiny.train(spec, **bench)
    loose = tiny.train(spec, **bench, deterministic=False)
    torch.zeros(3).put_(torch.tensor([1]), torch.ones(1))
    said = [result.provenance.hardware["numerics"]["deterministic"] for result in (strict, loose)]
    assert said == [True, False]
