"""How far a run is, read from its files alone: nobody has to be asked, and nothing can be out of step.

The one place that decides it, for the lists of runs and for the tables.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum

from petvr.atomic import holder
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.result import Result
from petvr.spec import RunSpec
from petvr.text_files import read_json


class RunState(StrEnum):
    """The value is the word users read; `meaning` explains it."""

    meaning: str

    DONE = "done", "result.json is there and belongs to today's recipe"
    STALE = "stale", "result.json is there but the recipe, a setting or a version has changed since"
    FAILED = "failed", "the last attempt ended with an error or a broken result; `petvr show` prints which"
    RUNNING = "running", "a process is at it now"
    STARTED = "started", "a checkpoint is there and no result: to be continued"
    MISSING = "missing", "nothing yet"

    def __new__(cls, word: str, meaning: str) -> RunState:
        state = str.__new__(cls, word)
        state._value_, state.meaning = word, meaning
        return state


@dataclass(frozen=True)
class RunStatus:
    """The state of one run, why it is so, and the result where one can be read."""

    state: RunState
    reason: str = ""  # one line; "" for what is done
    result: Result | None = None  # of runs that are done or stale


def run_status(layout: Layout, run_id: str, digest: str | None) -> RunStatus:
    """`digest` is that of the run's spec today; None takes a result of any recipe. Never raises for a run's files."""
    status = _finished_status(layout, run_id, digest)
    if status.state is not RunState.DONE and (who := holder(layout.lock(run_id))):
        return RunStatus(RunState.RUNNING, who)
    return status


def _finished_status(layout: Layout, run_id: str, digest: str | None) -> RunStatus:
    """From what earlier attempts left, whether or not one is under way."""
    path = layout.result(run_id)
    if not path.exists():
        failure = failure_reason(layout, run_id)
        if failure:
            return RunStatus(RunState.FAILED, failure)
        if layout.state(run_id).exists():
            return RunStatus(RunState.STARTED, "started, not finished")
        return RunStatus(RunState.MISSING, "not run yet")
    try:
        result = Result.read(path)
        result.check_file(path.parent, "ranks.npz")
        if (path.parent / "adapter.safetensors").exists():  # large ones may be deleted; its content: who opens it
            result.check_file(path.parent, "adapter.safetensors", content=False)
    except (PetvrError, OSError, UnicodeDecodeError) as error:
        return RunStatus(RunState.FAILED, str(error).removeprefix(f"{path}: ").removeprefix(f"{path.parent}/"))
    if result.id != run_id:
        return RunStatus(RunState.FAILED, f"holds the result of {result.id}")
    if digest is not None and result.provenance.spec_digest != digest:
        return RunStatus(RunState.STALE, "made by an earlier recipe or version", result)
    return RunStatus(RunState.DONE, result=result)


def status_of(layout: Layout, run: RunSpec) -> RunStatus:
    return run_status(layout, run.id, run.digest())


REMEDY = {
    RunState.STALE: "makes it anew",
    RunState.FAILED: "tries it again",
    RunState.STARTED: "continues it",
    RunState.MISSING: "makes it",
}


def what_to_do(layout: Layout, run_id: str, status: RunStatus, snakemake: str) -> str:
    """One line on a run that cannot be used: its state, why, and what makes it (`snakemake`: how that is called)."""
    explained = (RunState.FAILED, RunState.RUNNING, RunState.STALE)
    line = f"{run_id}: {status.state}: {status.reason if status.state in explained else status.state.meaning}"
    if status.state in (RunState.FAILED, RunState.RUNNING):
        line += f"; log: {layout.log(run_id)}"
    if status.state in REMEDY:
        line += f"; {training_command(layout, run_id, snakemake)} {REMEDY[status.state]}"
    return line


def training_command(layout: Layout, run_id: str, snakemake: str) -> str:
    """The command; of a result that somebody brought here Snakemake does not know of what recipe it is."""
    path = layout.result(run_id)
    return f"`{snakemake} {'--force ' if path.exists() else ''}{shlex.quote(path.as_posix())}`"


def failure_reason(layout: Layout, run_id: str) -> str:
    """What a failed run left behind about itself, in one line; "" if it left nothing."""
    path = layout.failure(run_id)
    if not path.exists():
        return ""
    try:
        reason = read_json(path, dict)["error"]
    except (PetvrError, KeyError):
        return "failed without a readable reason"
    return " ".join(str(reason).split()) or "failed without a reason"
