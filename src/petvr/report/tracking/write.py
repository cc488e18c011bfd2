"""One finished run in MLflow from one result, or from the results of a cell."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from petvr.report.tracking import content
from petvr.report.tracking.store import CELL_TAG, DIGEST_TAG, RESULTS_TAG, RUN_TAG, Store
from petvr.result import Result

ARTIFACTS = ("result.json", "adapter.safetensors", "log.txt")


def _name(result: Result) -> str:
    """What tells runs apart comes first: lists show the beginning."""
    *_, dataset, backbone, method = result.spec.cell.split("/")
    return f"{method} · {dataset} · {backbone}"


def log_run(store: Store, results: Path, file: Path, result: Result, digest: str, tables: list[str]) -> str:
    tags = content.tags(result, tables) | {RUN_TAG: result.id, CELL_TAG: result.spec.cell}
    name = f"{_name(result)} seed {result.spec.seed}"
    return _log(
        store, results, name, result, tags, digest, content.metrics(result), content.params(result), file.parent
    )


def log_cell(store: Store, results: Path, cell: str, of_seeds: list[Result], digest: str, tables: list[str]) -> str:
    first = of_seeds[0]
    tags = content.tags(first, tables) | {
        CELL_TAG: cell,
        "seed": ",".join(str(result.spec.seed) for result in of_seeds),
        "git_revision": ",".join(sorted({content.tags(result, tables)["git_revision"] for result in of_seeds})),
        "data_digest": ",".join(sorted({result.data.digest for result in of_seeds})),
        "data_manifest": ",".join(sorted({result.data.manifest for result in of_seeds} - {""})),
        "data_frozen": str(all(result.data.frozen for result in of_seeds)).lower(),
    }
    tags.pop("spec_digest")
    params = {key: value for key, value in content.params(first).items() if key != "seed"}
    return _log(
        store,
        results,
        f"{_name(first)} · {first.spec.paper}",
        first,
        tags,
        digest,
        content.over_seeds(of_seeds),
        params,
        None,
    )


def _log(
    store: Store,
    results: Path,
    name: str,
    result: Result,
    tags: dict[str, str],
    digest: str,
    metrics: list[content.Metric],
    params: dict[str, str],
    folder: Path | None,
) -> str:
    """A finished run. The digest comes last: a run without it was cut off and counts for nothing."""
    from mlflow.entities import Metric, Param, RunTag

    start, end = content.moment(result.provenance.started), content.moment(result.provenance.finished)
    tags = tags | {RESULTS_TAG: str(results.resolve()), "mlflow.source.name": "petvr", "mlflow.user": "petvr"}
    run = store.client.create_run(store.experiment, start_time=start, tags=tags, run_name=name)
    points = [Metric(key, value, end, step) for key, value, step in metrics]
    named = [Param(key, value[:6000]) for key, value in params.items()]
    for begin in range(0, len(named), 100):  # MLflow takes no more at once
        store.client.log_batch(run.info.run_id, params=named[begin : begin + 100])
    for begin in range(0, len(points), 800):
        store.client.log_batch(run.info.run_id, metrics=points[begin : begin + 800])
    if folder is not None:
        for artifact in ARTIFACTS:
            if (folder / artifact).exists():
                _artifact(store, run, folder / artifact)
    store.client.log_batch(run.info.run_id, tags=[RunTag(DIGEST_TAG, digest)])
    store.client.set_terminated(run.info.run_id, status="FINISHED", end_time=end)
    return run.info.run_id


def _artifact(store: Store, run: Any, file: Path) -> None:
    """A second name for the file where the artifacts lie on the same disk, so that weights are not stored twice."""
    where = urlsplit(run.info.artifact_uri)
    if where.scheme not in ("", "file"):
        store.client.log_artifact(run.info.run_id, str(file))
        return
    folder = Path(unquote(where.path))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, folder / file.name)
    except OSError:
        shutil.copy2(file, folder / file.name)
