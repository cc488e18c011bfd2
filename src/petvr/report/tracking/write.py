"""Finished runs into a store: by MLflow's client, or many at once into a local SQLite store."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from petvr.report.tracking.content import RunRecord
from petvr.report.tracking.store import DIGEST_TAG, Store, database

ARTIFACTS = ("result.json", "adapter.safetensors", "loss.npy", "log.txt")
CARD = "README.md"
SCHEMA = "dc11669786a5"  # alembic's version of the tables that `_write_rows` fills; any other takes the client's way


def write_runs(store: Store, records: Sequence[RunRecord]) -> list[str]:
    """MLflow's ids. The digest comes last: a run without it was cut off and counts for nothing."""
    ids = _write_rows(store, records) if writes_rows(store) else [_write_by_client(store, one) for one in records]
    return ids


def _write_by_client(store: Store, record: RunRecord) -> str:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

    tags = {key: value for key, value in record.tags.items() if key != DIGEST_TAG}
    run = store.client.create_run(store.experiment, start_time=record.start, tags=tags, run_name=record.name)
    params = [Param(key, value[:6000]) for key, value in record.params.items()]
    store.client.log_batch(run.info.run_id, metrics=[Metric(*metric) for metric in record.metrics], params=params[:100])
    for begin in range(100, len(params), 100):  # MLflow takes no more at once
        store.client.log_batch(run.info.run_id, params=params[begin : begin + 100])
    if record.datasets:
        inputs = [
            DatasetInput(
                Dataset(one.name, one.digest, "petvr", one.source), [InputTag("mlflow.data.context", one.context)]
            )
            for one in record.datasets
        ]
        store.client.log_inputs(run.info.run_id, inputs)
    _write_artifacts(store, run.info.run_id, run.info.artifact_uri, record)
    if DIGEST_TAG in record.tags:
        store.client.log_batch(run.info.run_id, tags=[RunTag(DIGEST_TAG, record.tags[DIGEST_TAG])])
    store.client.set_terminated(run.info.run_id, status="FINISHED", end_time=record.end)
    return run.info.run_id


def writes_rows(store: Store) -> bool:
    """A local SQLite file whose tables are those this knows: 20 times as fast as the client."""
    import sqlite3

    file = database(store.uri)
    if file is None:
        return False
    with sqlite3.connect(file) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(SCHEMA,)]


def _write_rows(store: Store, records: Sequence[RunRecord]) -> list[str]:
    """What the client writes, in one transaction of MLflow's own store; tests compare the two ways."""
    from mlflow.store.tracking.dbmodels import models
    from mlflow.tracking._tracking_service.utils import _get_store
    from sqlalchemy import select

    home = store.client.get_experiment(store.experiment).artifact_location
    rows: dict[Any, list[dict[str, Any]]] = {
        table: [] for table in (models.SqlRun, models.SqlTag, models.SqlParam, models.SqlMetric,
                                models.SqlLatestMetric, models.SqlDataset, models.SqlInput, models.SqlInputTag)
    }  # fmt: skip
    ids = [uuid.uuid4().hex for _ in records]
    for id, record in zip(ids, records, strict=True):
        _write_artifacts(store, id, f"{home}/{id}/artifacts", record)
    experiment = int(store.experiment)
    with _get_store(store.uri).ManagedSessionMaker(read_only=False) as session:
        known = select(models.SqlDataset).where(models.SqlDataset.experiment_id == experiment)
        datasets = {(one.name, one.digest): one.dataset_uuid for one in session.scalars(known)}
        for id, record in zip(ids, records, strict=True):
            rows[models.SqlRun].append({
                "run_uuid": id, "name": record.name, "source_type": "UNKNOWN", "source_name": "",
                "entry_point_name": "",
                "user_id": record.tags.get("mlflow.user", ""), "status": "FINISHED", "start_time": record.start,
                "end_time": record.end, "source_version": "", "lifecycle_stage": "active",
                "artifact_uri": f"{home}/{id}/artifacts", "experiment_id": experiment,
            })  # fmt: skip
            tags = record.tags | {"mlflow.runName": record.name}
            rows[models.SqlTag] += [{"key": k, "value": v, "run_uuid": id} for k, v in tags.items()]
            rows[models.SqlParam] += [{"key": k, "value": v[:6000], "run_uuid": id} for k, v in record.params.items()]
            latest: dict[str, dict[str, Any]] = {}
            for metric in dict.fromkeys(record.metrics):
                row = {"key": metric.name, "value": metric.value, "timestamp": metric.timestamp, "step": metric.step,
                       "is_nan": False, "run_uuid": id}  # fmt: skip
                rows[models.SqlMetric].append(row)
                before = latest.get(metric.name)
                if before is None or (before["step"], before["timestamp"]) <= (metric.step, metric.timestamp):
                    latest[metric.name] = row
            rows[models.SqlLatestMetric] += latest.values()
            for one in record.datasets:
                if (one.name, one.digest) not in datasets:
                    datasets[one.name, one.digest] = uuid.uuid4().hex
                    rows[models.SqlDataset].append({
                        "dataset_uuid": datasets[one.name, one.digest], "experiment_id": experiment, "name": one.name,
                        "digest": one.digest, "dataset_source_type": "petvr", "dataset_source": one.source,
                    })  # fmt: skip
                edge = uuid.uuid4().hex
                rows[models.SqlInput].append({
                    "input_uuid": edge, "source_type": "DATASET", "source_id": datasets[one.name, one.digest],
                    "destination_type": "RUN", "destination_id": id,
                })  # fmt: skip
                rows[models.SqlInputTag].append(
                    {"input_uuid": edge, "name": "mlflow.data.context", "value": one.context}
                )
        for table, content in rows.items():
            if content:
                session.execute(table.__table__.insert(), content)
    return ids


def _write_artifacts(store: Store, run_id: str, uri: str, record: RunRecord) -> None:
    """Second names for the files where artifacts lie on the same disk, so that weights are not stored twice."""
    if record.folder is None:
        return
    files = [record.folder / name for name in ARTIFACTS if (record.folder / name).exists()]
    where = urlsplit(uri)
    if where.scheme not in ("", "file"):
        for file in files:
            store.client.log_artifact(run_id, str(file))
        store.client.log_text(run_id, record.card, CARD)
        return
    folder = Path(unquote(where.path))
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        try:
            os.link(file, folder / file.name)
        except OSError:
            shutil.copy2(file, folder / file.name)
    (folder / CARD).write_text(record.card, encoding="utf-8")
