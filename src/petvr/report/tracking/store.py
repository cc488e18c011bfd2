"""Opening the MLflow store: created once, complete or not at all, and written by one process at a time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petvr.atomic import file_lock, holder
from petvr.errors import PetvrError, without_secrets
from petvr.layout import Layout
from petvr.report.tracking.content import Metric

RUN_TAG, CELL_TAG, DIGEST_TAG, RESULTS_TAG = "petvr.run", "petvr.cell", "petvr.digest", "petvr.results"
LIVE_TAG = "petvr.live"  # of a run that was shown while it trained, until its result takes its place
VIEW = "petvr"  # the list of runs as `petvr mlflow` opens it: what MLflow keeps of a view that somebody shares
_COLUMNS = ("metrics.`score/best_on_test/t2v_R1`", "metrics.`usage/params_M`", "metrics.`score/seeds`",
            "tags.`dataset`", "tags.`backbone`", "tags.`paper`")  # the page cuts titles: no two alike  # fmt: skip
_VIEW_STATE = {
    "selectedColumns": list(_COLUMNS), "columnOrder": [], "columnWidths": {}, "runsExpanded": {}, "runsPinned": [],
    "runsHidden": [], "runsVisibilityMap": {}, "runsHiddenMode": "FIRST_10_RUNS", "viewMaximized": False,
    "runListHidden": False, "isAccordionReordered": False, "useGroupedValuesInCharts": True, "hideEmptyCharts": True,
    "groupBy": None, "groupsExpanded": {}, "autoRefreshEnabled": True, "searchFilter": "tags.level = 'cell'",
    "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    "orderByKey": _COLUMNS[0], "orderByAsc": False, "startTime": "ALL", "lifecycleFilter": "Active",
    "datasetsFilter": [], "modelVersionFilter": "All Runs",
}  # fmt: skip
TAGS = {  # of the experiment
    "mlflow.experimentKind": "custom_model_development",  # what the interface shows for training runs
    "mlflow.note.content": "Built from petvr's result.json files by `petvr track`; delete it and build it again.\n\n"
    "One run per cell (`tags.level = 'cell'`) with a child per seed. A paper's table: "
    "`tags.level = 'cell' AND tags.tables LIKE '%|vop/table_3|%'`, sorted by `score/best_on_test/t2v_R1`.",
    f"mlflow.sharedViewState.{VIEW}": json.dumps(_VIEW_STATE),
}
LOCK_SECONDS = 600.0
PATIENCE = 5.0  # seconds of waiting until it is said


def default_uri(results: str | Path) -> str:
    """An sqlite file in the results folder, its artifacts beside it."""
    return f"sqlite:///{(Layout(Path(results)).mlflow / 'mlflow.db').resolve()}"


@dataclass(frozen=True)
class Store:
    client: Any  # mlflow.MlflowClient
    experiment: str  # its id
    uri: str


def shown(uri: str) -> str:
    """The uri as it may stand in a log, in Snakemake's records and in files."""
    return without_secrets(uri)


def database(uri: str) -> Path | None:
    """The file of an sqlite store, None for servers and other databases."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def stamp(uri: str) -> list[int] | None:
    """Of a local store's file, another after each write; [] where none is, None for servers and other databases."""
    file = database(uri)
    if file is None:
        return None
    try:
        with open(file, "rb") as stream:
            stat = os.fstat(stream.fileno())
            changes = int.from_bytes(stream.read(28)[24:], "big")  # SQLite counts its transactions there
    except FileNotFoundError:
        return []
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino, changes]


@contextlib.contextmanager
def locked(uri: str, seconds: float | None = None) -> Iterator[None]:
    """One writer at a time on this machine; the lock goes with the process, however that ends.

    An sqlite store that several processes create at the same moment stays broken for good, and replacing a run
    is several steps. Raises PetvrError when the lock cannot be had in time.
    """
    file = database(uri)
    if file is not None:
        path = file.with_name(file.name + ".lock")
    else:
        path = Path(tempfile.gettempdir()) / f"petvr-mlflow-{hashlib.sha256(uri.encode()).hexdigest()[:16]}.lock"
    begin, said = time.monotonic(), False
    deadline = begin + (LOCK_SECONDS if seconds is None else seconds)

    def wait(who: str) -> None:
        nonlocal said
        if not said and time.monotonic() > begin + PATIENCE:
            said = True
            print(f"petvr: waiting for another process that writes to MLflow ({who})", file=sys.stderr, flush=True)
        if time.monotonic() > deadline:
            raise PetvrError(f"{path}: another process holds this lock for too long ({who})")

    with file_lock(path, "another process writes to MLflow", wait):
        yield


def open_store(uri: str, experiment: str) -> Store:
    """Call it inside `locked`. Makes database, schema and experiment where they do not exist yet."""
    client_of = _mlflow()
    file = database(uri)
    if file is not None and not file.exists():
        _create(client_of, file)
    elif file is not None:
        _follow_move(file, experiment)
    client = client_of(tracking_uri=uri)
    return Store(client, _experiment(client, experiment, file), uri)


def prepare(uri: str, experiment: str = "petvr") -> None:
    """Make the store before anything fans out. Raises what MLflow raises."""
    with locked(uri):
        open_store(uri, experiment)


def reap(uri: str, experiment: str = "petvr") -> int:
    """Mark runs that were cut off as KILLED; how many there were. Only runs with petvr's tags are touched."""
    with locked(uri):
        store = open_store(uri, experiment)
        stale = [run for run in search(store, "attributes.status = 'RUNNING'") if not trains(run)]
        for run in stale:
            store.client.set_terminated(run.info.run_id, status="KILLED")
        return len(stale)


def trains(run: Any) -> bool:
    """Whether a process trains it now. Any other that says RUNNING while we hold the lock was cut off.

    Finished runs are logged in a fraction of a second, under the lock.
    """
    tags = run.data.tags
    return LIVE_TAG in tags and bool(holder(Layout(Path(tags[RESULTS_TAG])).lock(tags[RUN_TAG])))


def system_metrics(store: Store, run: Any) -> list[Metric]:
    """What MLflow measured of the machine while the run trained: no result file has that."""
    names = [name for name in run.data.metrics if name.startswith("system/")]
    points = [point for name in names for point in store.client.get_metric_history(run.info.run_id, name)]
    return [Metric(point.key, point.value, point.timestamp, point.step) for point in points]


def search(store: Store, condition: str = "") -> list[Any]:
    """All active runs of petvr in the experiment, newest first."""
    runs, token = [], None
    while True:
        page = store.client.search_runs(
            [store.experiment], condition, max_results=1000, order_by=["attributes.start_time DESC"], page_token=token
        )
        runs += [run for run in page if CELL_TAG in run.data.tags]
        token = page.token
        if not token:
            return runs


def _mlflow() -> Any:
    """MlflowClient: imported late (two seconds), quiet, no telemetry, no waiting for minutes on a dead server."""
    for key, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }.items():
        os.environ.setdefault(key, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a failure is one line of ours
    return MlflowClient


def _create(client_of: Any, file: Path) -> None:
    """Build the schema under another name and rename it: killed in the middle, no half schema is left in the way."""
    for left in file.parent.glob(f".{file.name}.*.new"):
        left.unlink(missing_ok=True)
    half = file.with_name(f".{file.name}.{os.getpid()}-{time.monotonic_ns()}.new")
    client_of(tracking_uri=f"sqlite:///{half}").search_experiments(max_results=1)
    os.replace(half, file)


def _follow_move(file: Path, experiment: str) -> None:
    """MLflow notes where artifacts lie by their whole path: after its folder was renamed or copied, that of today."""
    home = _artifacts(file)
    try:
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            known = connection.execute("select artifact_location from experiments where name = ?", (experiment,))
            for (old,) in known.fetchall():
                if old != home and old.endswith("/artifacts"):
                    connection.execute(
                        "update experiments set artifact_location = ? where name = ?", (home, experiment)
                    )
                    below = "artifact_uri = ? || substr(artifact_uri, ?) where substr(artifact_uri, 1, ?) = ?"
                    where = (home, len(old) + 1, len(old) + 1, f"{old}/")
                    connection.execute(f"update runs set {below}", where)
    except sqlite3.Error:
        return  # no store of MLflow's: it says so itself


def _artifacts(file: Path) -> str:
    return (file.parent.resolve() / "artifacts").as_uri()


def _experiment(client: Any, name: str, file: Path | None) -> str:
    existing = client.get_experiment_by_name(name)
    if existing is not None and existing.lifecycle_stage == "deleted":
        client.restore_experiment(existing.experiment_id)
    if existing is not None:
        for key, value in TAGS.items():
            if existing.tags.get(key) != value:
                client.set_experiment_tag(existing.experiment_id, key, value)
        return existing.experiment_id
    location = _artifacts(file) if file is not None else None
    try:
        return client.create_experiment(name, artifact_location=location, tags=TAGS)
    except Exception:
        existing = client.get_experiment_by_name(name)  # another machine was quicker
        if existing is None:
            raise
        return existing.experiment_id
