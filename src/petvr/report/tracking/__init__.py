"""MLflow as a view of the result files: it can be deleted and built again at any time, and it never stops a run.

    status = tracking.sync(results, uri, experiment, tables)      # everything, skipping what has not changed
    status = tracking.log_result(result_json, uri, experiment)    # one run and the summary of its cell

Both return a Status and never raise for a store that is away, broken or locked: `status.warning` says so in one line.
"""

from __future__ import annotations

from petvr.report.tracking.store import default_uri, prepare, reap
from petvr.report.tracking.sync import Status, log_result, sync, unchanged

__all__ = ["Status", "default_uri", "log_result", "prepare", "reap", "sync", "unchanged"]
