"""MLflow as a view: complete, without twins, rebuilt at will, and never in the way."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from table_factory import put, result, spec

from petvr.layout import Layout
from petvr.report import tracking
from petvr.report.tracking import store as stores
from petvr.report.tracking import write as writes

pytestmark = pytest.mark.slow  # MLflow itself

syncing = sys.modules["petvr.report.tracking.sync"]  # the package has the function by this name
CELL = "vop/msrvtt-7k/vit-b-32/vop"


@pytest.fixture
def results(tmp_path) -> Path:
    return tmp_path / "results"


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """A database with MLflow's schema: making one takes seconds, copying it nothing."""
    home = tmp_path_factory.mktemp("store") / "results"
    tracking.prepare(tracking.default_uri(home), "made beforehand")
    return home / "mlflow"


@pytest.fixture
def ready(results, empty_store) -> Path:
    shutil.copytree(empty_store, results / "mlflow")
    return results


def active(results: Path, experiment: str = "petvr") -> list:
    uri = tracking.default_uri(results)
    with stores.locked(uri):
        return stores.search(stores.open_store(uri, experiment))


def by_name(results: Path) -> dict:
    runs = active(results)
    named = {run.data.tags.get("petvr.run", run.data.tags["petvr.cell"]): run for run in runs}
    assert len(named) == len(runs), "a twin"
    return named


def test_a_renamed_results_folder_takes_its_artifacts_along(ready, tmp_path):
    put(ready, "vop", [44.0])
    assert tracking.sync(ready).ok
    moved = ready.rename(tmp_path / "a '%_ä")
    put(moved, "vop", [44.0, 45.0])
    assert tracking.sync(moved).ok and not ready.exists(), "nothing is written where the folder was"
    homes = {run.info.artifact_uri.partition("/artifacts/")[0] for run in active(moved)}
    assert homes == {(moved / "mlflow").as_uri()}


def test_a_run_has_parameters_metrics_per_epoch_tags_and_files(ready):
    put(ready, "vop", [44.0, 45.0])
    run = spec("vop", 1)
    (Layout(ready).run(run) / "adapter.safetensors").write_bytes(b"weights")
    (Layout(ready).run(run) / "log.txt").write_text("2026-01-05T10:01:30Z epoch 1, step 10, loss 2.0: t2v\n")
    np.save(Layout(ready).run(run) / "loss.npy", np.r_[np.nan, np.arange(19, 0, -1)].astype(np.float32))
    status = tracking.sync(ready, tables={CELL: ["vop/table_3", "rap/table_1"]})
    assert status.ok and status.logged == 2
    found = by_name(ready)
    child, parent = found[run.id], found[CELL]
    assert child.data.params["recipe.lr_new"] == "0.0001"
    assert child.data.params["recipe.betas"] == "[0.9, 0.98]"
    assert child.data.params["source/recipe.lr_new"] == "guess: the paper names no rate for <new> parts"
    wanted = {"paper": "vop", "dataset": "msrvtt-7k", "backbone": "vit-b-32", "method": "vop", "seed": "1"}
    wanted |= {"tables": "|vop/table_3|rap/table_1|", "level": "run", "synthetic": "false", "data_digest": "d1e2f3"}
    wanted |= {"git_revision": "0123456789abcdef", "mlflow.parentRunId": parent.info.run_id}
    assert wanted.items() <= child.data.tags.items()
    client = stores.open_store(tracking.default_uri(ready), "petvr").client
    curve = client.get_metric_history(child.info.run_id, "curve/t2v_R1")
    assert sorted((point.step, point.value) for point in curve) == [(0, 10.0), (1, 45.0), (2, 44.5)]
    # log.txt says when epoch 1 was done, epoch 2 stands at its share of all steps
    moments = {point.step: (point.timestamp - child.info.start_time) / 1000 for point in curve}
    assert moments == {0: 0, 1: 90, 2: 120}
    loss = client.get_metric_history(child.info.run_id, "curve/train_loss")
    # of every step of which one is known, at a time between those of the evaluations
    assert sorted((point.step, point.value) for point in loss) == [(step, 21.0 - step) for step in range(2, 21)]
    moments = {point.step: (point.timestamp - child.info.start_time) / 1000 for point in loss}
    assert (moments[5], moments[10], moments[15], moments[20]) == (45, 90, 105, 120)
    assert child.data.metrics["score/best_on_test/t2v_R1"] == 45.0
    assert child.data.metrics["score/last/v2t_R5"] == 63.5
    assert child.data.metrics["usage/train_seconds"] == 61.5
    artifacts = Path(child.info.artifact_uri.removeprefix("file://"))
    assert (artifacts / "adapter.safetensors").read_bytes() == b"weights"
    assert json.loads((artifacts / "result.json").read_text())["id"] == run.id
    assert (child.info.status, child.info.end_time - child.info.start_time) == ("FINISHED", 120_000)


def read_back(results, uri):
    """All that MLflow's client says of the runs but their ids, ids of parents turned into names."""
    with stores.locked(uri):
        opened = stores.open_store(uri, "petvr")
        runs = stores.search(opened)
    names = {run.info.run_id: run.info.run_name for run in runs}
    told = []
    for run in runs:
        tags = {key: names.get(value, value) for key, value in run.data.tags.items()}
        curves = {
            name: sorted(
                (p.step, p.value, p.timestamp) for p in opened.client.get_metric_history(run.info.run_id, name)
            )
            for name in run.data.metrics
        }
        inputs = sorted(
            (one.dataset.name, one.dataset.digest, one.dataset.source, one.dataset.source_type,
             [(tag.key, tag.value) for tag in one.tags]) for one in run.inputs.dataset_inputs
        )  # fmt: skip
        info = (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time, run.info.lifecycle_stage)
        home = Path(run.info.artifact_uri.removeprefix("file://"))
        files = {path.name: path.read_bytes() for path in home.iterdir()} if home.exists() else {}
        latest = run.data.metrics
        told.append((info, tags, run.data.params, latest, curves, inputs, files))
    return sorted(told, key=lambda one: one[0])


def test_rows_written_at_once_read_as_what_the_client_writes(ready, empty_store, monkeypatch, tmp_path):
    put(ready, "vop", [44.0, 45.0])
    put(ready, "bias", [40.0])
    uris = [tracking.default_uri(ready), f"sqlite:///{tmp_path / 'other' / 'mlflow.db'}"]
    shutil.copytree(empty_store, tmp_path / "other")
    assert writes.writes_rows(stores.open_store(uris[0], "petvr")), "the schema of the pinned MLflow is known"
    assert tracking.sync(ready, uris[0]).logged == 3
    monkeypatch.setattr(writes, "SCHEMA", "another")
    assert tracking.sync(ready, uris[1]).logged == 3
    rows, client = (read_back(ready, uri) for uri in uris)
    assert len(rows) == 5 and rows == client
    for uri in uris:
        with stores.locked(uri):
            opened = stores.open_store(uri, "petvr")
            cells = (
                "tags.level = 'cell' AND dataset.name = 'msrvtt-7k test' AND metrics.`score/best_on_test/t2v_R1` > 41"
            )
            assert [run.data.tags["method"] for run in stores.search(opened, cells)] == ["vop"]


def test_nothing_new_is_known_without_mlflow_and_a_store_somebody_touched_is_looked_into(ready):
    put(ready, "vop", [44.0, 45.0])
    put(ready, "bias", [40.0])
    Layout(ready).result(spec("bias", 0)).write_text("broken")
    tracking.sync(ready)
    code = (
        "import sys; from petvr.report import tracking; status = tracking.sync(sys.argv[1]); "
        "print(status.logged, status.unchanged, len(status.broken), 'mlflow' in sys.modules)"
    )
    call = [sys.executable, "-c", code, str(ready)]
    assert subprocess.run(call, capture_output=True, text=True, check=True).stdout.split() == ["0", "3", "1", "False"]
    with stores.locked(tracking.default_uri(ready)):
        opened = stores.open_store(tracking.default_uri(ready), "petvr")
        opened.client.delete_run(by_id(opened)[spec("vop", 0).id].info.run_id)
    assert tracking.sync(ready).logged == 1
    Layout(ready).result(spec("vop", 1)).unlink()
    assert tracking.sync(ready).removed == 2  # the run, and the old means of its cell


def test_what_the_tables_are_made_from_decides_whether_a_plan_is_needed_to_see_that_nothing_is_new(ready):
    place = ready, tracking.default_uri(ready), "petvr"
    tables = {spec("vop", 0).cell: ["vop/table_3"]}
    put(ready, "vop", [44.0, 45.0])
    assert tracking.unchanged(*place, "plan 1") is None
    tracking.sync(*place, tables, source="plan 1")
    assert tracking.unchanged(*place, "plan 1").unchanged == 2
    assert tracking.unchanged(*place, "plan 2") is None
    tracking.sync(*place, tables, runs=[spec("vop", 0).id], again=True)
    assert tracking.unchanged(*place, "plan 1") is None, "of all cells but one nothing is known"
    tracking.sync(*place, tables, source="plan 1")
    Layout(ready).result(spec("vop", 1)).unlink()
    assert tracking.unchanged(*place, "plan 1") is None


def by_id(opened):
    return {run.data.tags.get("petvr.run"): run for run in stores.search(opened)}


def test_the_screen_stays_quiet(results):
    put(results, "vop", [44.0])
    code = "import sys; from petvr.report import tracking; assert tracking.sync(sys.argv[1]).logged == 1"
    done = subprocess.run([sys.executable, "-c", code, str(results)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_view_that_opens_first_has_columns_that_cells_have(ready):
    put(ready, "vop", [44.0, 45.0])
    assert tracking.sync(ready).ok
    opened = stores.open_store(tracking.default_uri(ready), "petvr")
    view = json.loads(opened.client.get_experiment(opened.experiment).tags[f"mlflow.sharedViewState.{stores.VIEW}"])
    [cell] = stores.search(opened, view["searchFilter"])
    values = {f"metrics.`{name}`" for name in cell.data.metrics} | {f"tags.`{name}`" for name in cell.data.tags}
    assert set(view["selectedColumns"]) <= values and view["orderByKey"] == "metrics.`score/best_on_test/t2v_R1`"


def test_the_parent_holds_mean_and_sample_deviation(ready):
    put(ready, "vop", [44.0, 45.0, 49.0])
    tracking.sync(ready)
    parent = by_name(ready)[CELL]
    assert parent.data.metrics["score/best_on_test/t2v_R1"] == pytest.approx(46.0)
    assert parent.data.metrics["score/best_on_test/t2v_R1_std"] == pytest.approx(7.0**0.5)  # (4 + 1 + 9) / 2
    assert parent.data.metrics["score/seeds"] == 3
    assert next(iter(parent.data.metrics)) == "score/best_on_test/t2v_R1", "what MLflow's comparison shows at first"
    assert parent.data.tags["seed"] == "0,1,2"


def test_a_second_sync_changes_nothing(ready):
    put(ready, "vop", [44.0, 45.0])
    tracking.sync(ready)
    before = {name: run.info.run_id for name, run in by_name(ready).items()}
    status = tracking.sync(ready)
    assert (status.logged, status.unchanged, status.removed) == (0, 2, 0)
    assert {name: run.info.run_id for name, run in by_name(ready).items()} == before


def test_runs_are_listed_again_only_where_somebody_wrote_between_two_parts_of_a_sync(ready, monkeypatch):
    monkeypatch.setattr(syncing, "AT_ONCE", 1)
    listed = []
    monkeypatch.setattr(syncing, "search", lambda *given: listed.append(given) or stores.search(*given))

    def put_all(r1: float) -> None:
        for name in ("bias", "proj", "vop"):
            put(ready, name, [r1])

    put_all(40.0)
    assert tracking.sync(ready).logged == 3 and len(listed) == 1
    put_all(41.0)
    others = [Layout(ready).result(spec("vop", 0))]

    @contextlib.contextmanager
    def let_another_write(uri: str):
        with stores.locked(uri):
            yield
        if others:
            assert tracking.log_result(others.pop()).logged == 1

    monkeypatch.setattr(syncing, "locked", let_another_write)
    status = tracking.sync(ready)
    assert (status.logged, status.unchanged, status.removed) == (2, 1, 4), "what the other wrote is known"
    assert len(listed) == 4, "at first, by the other, behind it"
    assert {run.data.metrics["score/best_on_test/t2v_R1"] for run in by_name(ready).values()} == {41.0}


def test_a_run_made_again_replaces_the_old_one(ready):
    put(ready, "vop", [44.0, 45.0])
    tracking.sync(ready)
    before = by_name(ready)
    put(ready, "vop", [44.0, 47.0])
    status = tracking.log_result(Layout(ready).result(spec("vop", 1)))
    assert status.ok and (status.logged, status.unchanged) == (1, 1)
    found = by_name(ready)
    assert set(found) == set(before)
    assert found[spec("vop", 1).id].data.metrics["score/best_on_test/t2v_R1"] == 47.0
    assert found[CELL].data.metrics["score/best_on_test/t2v_R1"] == 45.5
    assert found[spec("vop", 0).id].info.run_id == before[spec("vop", 0).id].info.run_id
    assert found[spec("vop", 0).id].data.tags["mlflow.parentRunId"] == found[CELL].info.run_id


def test_a_deleted_result_leaves_the_view(ready):
    put(ready, "vop", [44.0, 45.0])
    put(ready, "bias", [40.0])
    tracking.sync(ready)
    Layout(ready).result(spec("vop", 1)).unlink()
    shutil.rmtree(Layout(ready).run(spec("bias", 0)))
    tracking.sync(ready)
    assert set(by_name(ready)) == {CELL, spec("vop", 0).id}


def test_a_run_cut_off_while_being_logged_does_not_stay_running(ready):
    put(ready, "vop", [44.0])
    uri = tracking.default_uri(ready)
    with stores.locked(uri):
        opened = stores.open_store(uri, "petvr")
        tags = {stores.RUN_TAG: spec("vop", 0).id, stores.CELL_TAG: CELL}
        half = opened.client.create_run(opened.experiment, tags=tags)
        foreign = opened.client.create_run(opened.experiment)
    assert tracking.reap(uri) == 1
    assert opened.client.get_run(half.info.run_id).info.status == "KILLED"
    assert opened.client.get_run(foreign.info.run_id).info.status == "RUNNING"
    tracking.sync(ready)
    assert {run.info.status for run in by_name(ready).values()} == {"FINISHED"}


def test_the_store_can_be_deleted_and_built_again(ready):
    put(ready, "vop", [44.0, 45.0])
    tracking.sync(ready)
    shutil.rmtree(Layout(ready).mlflow)
    # as a user would: MLflow keeps the deleted file open in the process that used it
    code = "import sys; from petvr.report import tracking; print(tracking.sync(sys.argv[1]))"
    told = subprocess.run([sys.executable, "-c", code, str(ready)], capture_output=True, text=True, check=True).stdout
    assert "2 logged, 0 unchanged, 0 older ones removed" in told
    with sqlite3.connect(Layout(ready).mlflow / "mlflow.db") as database:
        active = database.execute("SELECT name FROM runs WHERE lifecycle_stage = 'active' ORDER BY name").fetchall()
    name = "vop, msrvtt-7k"
    assert active == [
        (f"seed 0, {name}, vit-b-32",),
        (f"seed 1, {name}, vit-b-32",),
        (f"{name}, R@1 44.5+-0.7, 0.123 M, 2 seeds, vit-b-32, vop",),
    ]


def test_a_broken_result_is_named_and_hides_no_other(ready):
    put(ready, "vop", [44.0, 45.0])
    Layout(ready).result(spec("vop", 1)).write_text('{"id":')
    status = tracking.sync(ready)
    assert status.ok and status.logged == 1
    assert len(status.broken) == 1 and "seed-1" in status.broken[0]


def test_values_that_are_no_numbers_are_left_out(ready):
    run = spec("vop", 0)
    made = result(run, 44.0)
    made.evaluations[2].train_loss = float("inf")
    made.write(Layout(ready).result(run))
    tracking.sync(ready)
    client = stores.open_store(tracking.default_uri(ready), "petvr").client
    history = client.get_metric_history(by_name(ready)[run.id].info.run_id, "curve/train_loss")
    assert [point.value for point in history] == [2.0]


def test_an_unreachable_server_is_one_clear_warning_without_its_password(results):
    put(results, "vop", [44.0])
    status = tracking.sync(results, "http://user:secret@127.0.0.1:9")
    assert not status.ok
    assert "http://127.0.0.1:9 cannot be used" in status.warning and "results are safe" in status.warning
    assert "secret" not in status.warning and "\n" not in status.warning


def test_a_file_that_is_no_database_is_one_clear_warning(results):
    put(results, "vop", [44.0])
    file = results / "mlflow" / "mlflow.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"this is not a database " * 100)
    status = tracking.sync(results)
    assert not status.ok and str(file) in status.warning
    assert file.read_bytes().startswith(b"this is not"), "a foreign file was overwritten"


def test_a_store_in_a_folder_that_cannot_be_made_is_a_warning(results):
    put(results, "vop", [44.0])
    (results / "mlflow").write_text("a file where the folder should be")
    assert "cannot be used" in tracking.sync(results).warning


def test_a_lock_held_by_another_is_reported(ready, monkeypatch):
    uri = tracking.default_uri(ready)
    with stores.locked(uri), pytest.raises(Exception, match="another process holds"), stores.locked(uri, seconds=0.1):
        pass


def test_a_database_cut_off_while_being_made_does_not_stand_in_the_way(results):
    put(results, "vop", [44.0])
    folder = results / "mlflow"
    folder.mkdir(parents=True)
    half = folder / ".mlflow.db.123-456.new"
    with sqlite3.connect(half) as database:
        database.execute("CREATE TABLE _alembic_tmp_tags (x)")
    assert tracking.sync(results).ok
    assert not half.exists()


@pytest.mark.slow
def test_three_processes_on_a_store_that_does_not_exist_yet(results):
    """Each logs a run of its own and one that all share; nothing is lost, doubled or broken."""
    for index in range(3):
        put(results, f"m{index}", [40.0 + index])
    put(results, "vop", [44.0, 45.0])
    code = (
        "import sys; from petvr.report import tracking; from petvr.report.tracking import store\n"
        "store.LOCK_SECONDS = 3600.0\n"  # how long the others take depends on the machine
        "for path in sys.argv[1:]:\n"
        "    status = tracking.log_result(path)\n"
        "    assert status.ok, status.warning\n"
    )
    shared = str(Layout(results).result(spec("vop", 1)))
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(Layout(results).result(spec(f"m{index}", 0))), shared],
            stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for index in range(3)
    ]
    for job in jobs:
        _, errors = job.communicate()
        assert job.returncode == 0, errors.decode()
    found = by_name(results)
    assert {spec(f"m{index}", 0).id for index in range(3)} <= set(found)
    assert {spec("vop", 0).id, spec("vop", 1).id, CELL} <= set(found)
    assert len(found) == 3 * 2 + 3
    status = tracking.sync(results)
    assert (status.logged, status.unchanged, status.removed) == (0, 5, 0)
