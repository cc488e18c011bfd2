"""A run that trains appears in MLflow by a process beside it, and the whole record takes its place."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import training_bench as tiny
from table_factory import put

from petvr.layout import Layout
from petvr.report import tracking
from petvr.report.tracking import live
from petvr.report.tracking import store as stores

PATIENCE = 1800  # seconds; only what hangs for good fails by time


def shown(results: Path, run: str) -> list:
    uri = tracking.default_uri(results)
    with stores.locked(uri):
        return stores.search(stores.open_store(uri, "petvr"), f"tags.`petvr.run` = '{run}'")


@pytest.mark.slow
def test_a_run_is_seen_while_it_trains_and_keeps_what_was_measured_of_the_machine(tmp_path, monkeypatch):
    results, spec = tmp_path / "results", tiny.spec(epochs=3)
    layout, uri = Layout(results), tracking.default_uri(results)
    monkeypatch.setattr(live, "AFTER", 0)
    monkeypatch.setattr(live, "EVERY", 0)
    monkeypatch.setattr(live, "PATIENCE", PATIENCE)
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    options = tiny.everything(tmp_path / "world") | {"out": layout.run(spec), "state": layout.state(spec)}
    tracking.prepare(uri)

    def feed_of(attempt: int) -> live.LiveFeed:
        return live.LiveFeed(spec, results, uri, "petvr", {spec.cell: [f"vop/table_{attempt}"]})

    class Cut(Exception):
        pass

    def cut(state):
        first(state)
        if state.step == 4:
            raise Cut

    first = feed_of(1)
    with pytest.raises(Cut):
        tiny.train(spec, **options, watch=cut, checkpoint_steps=2)
    first.close(finished=False)
    [killed] = shown(results, spec.id)
    assert killed.info.status == "KILLED" and killed.data.tags["tables"] == "|vop/table_1|"
    assert killed.data.params["recipe.epochs"] == "3" and "curve/t2v_R1" in killed.data.metrics
    put(results, "bias", [40.0])
    assert tracking.sync(results).ok and shown(results, spec.id), "it goes on from its checkpoint: nothing is removed"

    second, during = feed_of(2), []

    def watch(state):
        second(state)
        end = time.monotonic() + PATIENCE
        while state.step >= 8 and not during and time.monotonic() < end:
            second(state)
            assert second.child is None or second.child.poll() is None, "the process beside it has ended"
            [run] = shown(results, spec.id)
            newest = state.evaluations[-1].plain["t2v"]["R@1"]  # the earlier attempt's values are shown first
            if (
                run.info.run_id != killed.info.run_id
                and any(name.startswith("system/") for name in run.data.metrics)
                and run.data.metrics.get("curve/t2v_R1") == newest
            ):
                during.append(run)
                assert tracking.sync(results).ok and tracking.reap(uri) == 0, "it is left alone"
            time.sleep(0.05)

    result = tiny.train(spec, **options, watch=watch)
    second.close(finished=True)
    [run] = during
    assert run.info.status == "RUNNING" and run.info.run_name.endswith("training")
    assert run.data.metrics["curve/t2v_R1"] == result.evaluations[1].plain["t2v"]["R@1"]
    assert 0 < run.data.metrics["curve/train_loss"] < 10
    [last] = shown(results, spec.id)
    assert last.info.status == "FINISHED" and "petvr.live" not in last.data.tags
    assert last.data.tags["tables"] == "|vop/table_2|" and "score/last/t2v_R1" in last.data.metrics
    assert "system/cpu_utilization_percentage" in last.data.metrics
    assert Path(last.info.artifact_uri.removeprefix("file://"), "README.md").exists()
    status = tracking.sync(results, tables={spec.cell: ["vop/table_2"]})
    assert (status.logged, status.removed, status.unchanged) == (0, 0, 2)


def test_who_writes_to_which_store_while_it_trains(monkeypatch):
    for name in ("PETVR_HEAD", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    local, servers = ["sqlite:////tmp/mlflow.db", "file:///tmp/mlruns"], ["http://host:5000", "postgresql://host/db"]
    assert all(map(live.shows_live, local + servers)), "by hand, on one machine"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert [live.shows_live(uri) for uri in local + servers] == [False, False, True, True]
    monkeypatch.setenv("PETVR_HEAD", "another-host")
    assert [live.shows_live(uri) for uri in local + servers] == [False, False, True, True]
    live.environment.name_head()
    assert all(map(live.shows_live, local)), "a head that runs in a job of its own"
