"""A run in MLflow while it trains: the run feeds a process beside it, so that nothing of MLflow is in its way.

    feed = LiveFeed(start)       # in the process that trains; feed(state) after every step
    python -m petvr.report.tracking.live     # started by it: reads lines from its stdin and writes them to the store

What is shown live is replaced by the whole record when the result is there (`sync`), which keeps the system metrics:
only a live run has them. A run of less than AFTER seconds is not worth a process: it appears when it is done.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from petvr import environment
from petvr.layout import Layout
from petvr.report.tracking.content import Metric, curve_of, name_of_run, params_of, tags_of
from petvr.report.tracking.store import (
    CELL_TAG,
    LIVE_TAG,
    RESULTS_TAG,
    RUN_TAG,
    Store,
    locked,
    open_store,
    search,
    system_metrics,
)
from petvr.report.tracking.sync import log_result, warning_of
from petvr.result import LOSS_POINTS, Evaluation, mean_losses
from petvr.spec import RunSpec

AFTER = 60.0  # seconds of a run before it is shown
EVERY = 15.0  # seconds between two lines without a new evaluation
PATIENCE = 60.0  # seconds that a finished run waits for its last lines to be written
SAMPLED = 30.0  # seconds between two samples of the machine


class Progress(Protocol):
    """What the feed reads of a run's state; `losses`: of every step, a tensor."""

    step: int
    evaluations: list[Evaluation]
    losses: Any


def shows_live(uri: str) -> bool:
    """Servers from everywhere; files from the head's machine alone: SQLite on a shared file system gets damaged."""
    if importlib.util.find_spec("mlflow") is None:
        return False
    if "://" in uri and not uri.startswith(("sqlite", "file")):
        return True
    return environment.on_the_head()


class LiveFeed:
    """Lines to the process that shows a run. It never waits for that process, and does without it where it ends."""

    def __init__(
        self, spec: RunSpec, results: Path, uri: str, experiment: str, tables: Mapping[str, Sequence[str]]
    ) -> None:
        self.start = {
            "spec": spec.model_dump(mode="json"), "results": str(results.resolve()), "uri": uri,
            "experiment": experiment, "tables": list(tables.get(spec.cell, ())), "time": _now(),
        }  # fmt: skip
        self.begun = self.sent_at = time.monotonic()
        self.evaluations = self.steps = 0  # sent
        self.child: subprocess.Popen[bytes] | None = None
        self.waiting, self.over = b"", False

    def __call__(self, state: Progress) -> None:
        now = time.monotonic()
        due = len(state.evaluations) > self.evaluations or now - self.sent_at >= EVERY
        if self.over or not due or now - self.begun < AFTER:
            return
        first = self.child is None
        if first:
            self._start()
        points: list[tuple[int, float]] = []
        if state.losses is not None and state.step > self.steps:
            # the course so far, then one point a line
            points = mean_losses(state.losses[self.steps : state.step].cpu().numpy(), LOSS_POINTS if first else 1)
        evaluations = state.evaluations[self.evaluations :]
        self._send({
            "losses": [(self.steps + step, loss) for step, loss in points], "time": _now(),
            "evaluations": [one.model_dump(mode="json", include={"epoch", "step", "plain"}) for one in evaluations],
        })  # fmt: skip
        self.evaluations, self.steps, self.sent_at = len(state.evaluations), state.step, now

    def close(self, finished: bool) -> None:
        """The process beside it is told how the run ended, and has some time to write that."""
        if self.child is None or self.child.stdin is None:
            return
        if finished:
            self._send({"finished": True})
        with contextlib.suppress(OSError):
            os.set_blocking(self.child.stdin.fileno(), True)
            if not self.over and len(self.waiting) < 1 << 15:
                os.write(self.child.stdin.fileno(), self.waiting)
        with contextlib.suppress(OSError):
            self.child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(PATIENCE)

    def _start(self) -> None:
        command = [sys.executable, "-m", "petvr.report.tracking.live"]
        # a session of its own: what a terminal or Slurm sends to the run is not for it, its input ends with the run
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
        os.set_blocking(self.child.stdin.fileno(), False)  # type: ignore[union-attr]  # it is a pipe
        self._send(self.start)

    def _send(self, line: Mapping[str, Any]) -> None:
        self.waiting += json.dumps(line).encode() + b"\n"
        try:
            while self.waiting and not self.over:
                written = os.write(self.child.stdin.fileno(), self.waiting)  # type: ignore[union-attr]  # started
                self.waiting = self.waiting[written:]
        except BlockingIOError:
            pass  # it is slow; the rest goes with the next line
        except OSError:
            self.over = True


class _LiveRun:
    """The run in the store. What cannot be written now is tried again with the next line; one warning is enough."""

    def __init__(self, start: Mapping[str, Any]) -> None:
        self.start, self.spec = start, RunSpec.model_validate(start["spec"])
        self.uri: str = start["uri"]
        self.store: Store | None = None
        self.id, self.monitor, self.warned = "", None, False
        self.metrics: list[Metric] = []

    def add(self, line: Mapping[str, Any]) -> None:
        for one in line["evaluations"]:
            self.metrics += curve_of(Evaluation(train_loss=None, **one), line["time"])
        losses = [(step, loss) for step, loss in line["losses"] if math.isfinite(loss)]
        self.metrics += [Metric("curve/train_loss", loss, line["time"], step) for step, loss in losses]
        try:
            self._write()
        except Exception as error:
            if not self.warned:
                print(f"petvr: warning: {warning_of(self.uri, error)}", file=sys.stderr, flush=True)
            self.warned = True

    def end(self, finished: bool) -> None:
        if self.monitor is not None:
            self.monitor.finish()
        layout = Layout(Path(self.start["results"]))
        failed = layout.failure(self.spec).exists()
        try:
            if self.store is not None:
                state = "FINISHED" if finished else "FAILED" if failed else "KILLED"
                self.store.client.set_terminated(self.id, status=state)
            if finished:
                tables = {self.spec.cell: self.start["tables"]}
                log_result(layout.result(self.spec), self.uri, self.start["experiment"], tables)
        except Exception as error:
            print(f"petvr: warning: {warning_of(self.uri, error)}", file=sys.stderr, flush=True)

    def _write(self) -> None:
        from mlflow import entities

        if self.store is None:
            with locked(self.uri):
                store = open_store(self.uri, self.start["experiment"])
                self.id = self._create(store)
            self.store = store
            self.monitor = _watch_machine(self.id, self.uri)
        while self.metrics:
            self.store.client.log_batch(self.id, metrics=[entities.Metric(*one) for one in self.metrics[:1000]])
            del self.metrics[:1000]

    def _create(self, store: Store) -> str:
        """Anew, in place of what an earlier attempt of this run has shown."""
        spec, results = self.spec, self.start["results"]
        tags = tags_of(spec, self.start["tables"]) | {"level": "run", "mlflow.source.name": "petvr"}
        tags |= {RUN_TAG: spec.id, CELL_TAG: spec.cell, RESULTS_TAG: results, LIVE_TAG: "true", "mlflow.user": "petvr"}
        earlier = [run for run in search(store, f"tags.`{RUN_TAG}` = '{spec.id}'") if LIVE_TAG in run.data.tags]
        self.metrics = [one for run in earlier for one in system_metrics(store, run)] + self.metrics
        name = f"{name_of_run(spec)}, training"
        run = store.client.create_run(store.experiment, start_time=self.start["time"], tags=tags, run_name=name)
        from mlflow.entities import Param

        params = [Param(key, value[:6000]) for key, value in params_of(spec).items()]
        for begin in range(0, len(params), 100):
            store.client.log_batch(run.info.run_id, params=params[begin : begin + 100])
        for one in earlier:
            store.client.delete_run(one.info.run_id)
        return run.info.run_id


def _watch_machine(run: str, uri: str) -> Any:
    """MLflow's monitor of processor, memory, disk, network and, with NVIDIA's bindings, GPUs; None where it fails."""
    try:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)
        monitor = SystemMetricsMonitor(run, sampling_interval=SAMPLED, resume_logging=True, tracking_uri=uri)
        monitor.start()
        return monitor
    except Exception as error:
        print(f"petvr: no system metrics in MLflow: {error}", file=sys.stderr, flush=True)
        return None


def _now() -> int:
    return int(time.time() * 1000)


def main(lines: Iterable[str]) -> None:
    """The first line says which run, the others what is new; the end of input is the end of the run."""
    source = iter(lines)
    run, finished = _LiveRun(json.loads(next(source))), False
    for line in source:
        content = json.loads(line)
        if content.get("finished"):
            finished = True
        else:
            run.add(content)
    run.end(finished)


if __name__ == "__main__":
    main(sys.stdin)
