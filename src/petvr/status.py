"""How far a run is, told from its files alone: nobody has to be asked, and nothing can be out of step."""

from __future__ import annotations

import json
from pathlib import Path

from petvr.layout import Layout
from petvr.spec import RunSpec

STATES = {
    "done": "result.json is there and belongs to today's recipe",
    "stale": "result.json is there but the recipe, a setting or a version has changed since",
    "failed": "the last attempt ended with an error, which `petvr show` prints",
    "started": "a checkpoint is there and no result: running, or to be continued",
    "missing": "nothing yet",
}


def status(layout: Layout, run: RunSpec) -> str:
    """One of STATES."""
    digest = result_digest(layout.result(run))
    if digest is not None:
        return "done" if digest == run.digest() else "stale"
    if layout.failure(run).exists():
        return "failed"
    return "started" if layout.state(run).exists() else "missing"


def result_digest(path: Path) -> str | None:
    """The digest of the spec a result was made with; "" if the file is broken, None if there is none."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["provenance"]["spec_digest"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return ""
