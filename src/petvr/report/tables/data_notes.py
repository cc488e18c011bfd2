"""What a table's data are: how many videos of how many, what is left out and why, whether it was frozen, its class."""

from __future__ import annotations

from petvr.data.datasets.video_state import VideoState
from petvr.papers.table import OWN
from petvr.report.tables import text
from petvr.report.tables.aggregate import NOT_RUN, MeasuredTable
from petvr.result import Data, Result, suspicions

CLASSES = {
    "A": "exact",
    "B": "comparable",
    "C": "not comparable to the paper, only among own runs",
    "D": "subset, not comparable",
}
NAMED = 5  # videos of the test split that are named


def sentences(table: MeasuredTable) -> list[str]:
    """One per data set, what differs from a lock, runs that may mean nothing, data sets that cannot be had."""
    return [*_measured(table), *_other(table), *_suspicious(table), *_refused(table), *unavailable(table)]


def _suspicious(table: MeasuredTable) -> list[str]:
    used = [result for row in table.rows for dataset in row.seeds for result in row.used(dataset)]
    return [
        f"WARNING, {id} {'; '.join(why)}."
        for id, why in {one.id: suspicions(one.spec, one.evaluations) for one in used}.items()
        if why
    ]


def _refused(table: MeasuredTable) -> list[str]:
    """What the rehearsal said no to before runs went on anyway."""
    said = {one.digest: one for result in table.used() if (one := result.provenance.rehearsal) and not one.go}
    return [f"WARNING, the rehearsal said no ({key}): {'; '.join(one.refusals)[:300]}." for key, one in said.items()]


def _measured(table: MeasuredTable) -> list[str]:
    said = []
    for dataset, result in sorted(_by_dataset(table).items()):
        data = result.data
        kind = data.data_class
        mark = f" {text.CLASS_C_MARK}" if kind == "C" and table.planned.paper != OWN else ""
        test = _part(data.test_videos, data.test_videos_official)
        train = _part(data.train_videos, data.train_videos_official)
        parts = [f"{test} test and {train} training videos, {data.test_captions:,} test captions"]
        if data.validation:
            parts.append(f"{data.validation_videos:,} for validation, {data.validation}")
        if data.missing:
            parts.append(left_out(data))
        if data.world != "real":
            parts.append("synthetic")
        elif table.planned.paper != OWN:  # a user's own data are compared with nobody's
            parts.append(f"class {kind} ({CLASSES[kind]})")
        parts.append(_state(data, table.locks.get(dataset, "")))
        said.append(f"{text.dataset_title(dataset)}{mark}: {'; '.join(parts)}.")
    return said


def left_out(data: Data) -> str:
    """`left out: test 1 undecodable (vid12), training 38 removed`."""
    said = []
    count = data.test_videos_official - data.test_videos
    for split, title in (("test", "test"), ("train", "training"), ("val", "validation")):
        why = data.why.get(split, {})
        if why:
            numbers = ", ".join(f"{number:,} {VideoState(status).english}" for status, number in why.items())
            named = data.missing[:count] if split == "test" else []
            more = ", ..." if len(named) > NAMED else ""
            said.append(f"{title} {numbers}" + (f" ({', '.join(named[:NAMED])}{more})" if named else ""))
    return f"left out: {', '.join(said)}" if said else f"{len(data.missing):,} left out"


def _part(have: int, official: int) -> str:
    if not official or have == official:
        return f"{have:,}" if not official else f"{have:,} of {official:,}"
    return f"{have:,} of {official:,} ({100 * have / official:.1f} %)"


def _state(data: Data, lock: str) -> str:
    """The identity of the data and whether it is frozen; older results know only their split."""
    if not data.manifest:
        return f"data {data.digest}"
    return f"lock {data.manifest}" if data.manifest == lock else f"data {data.manifest}, not frozen"


def _other(table: MeasuredTable) -> list[str]:
    """A result from before the lock, or of other data, is shown and said to be so."""
    said = []
    for dataset, lock in sorted(table.locks.items()):
        used = [result for row in table.rows for result in row.used(dataset)]
        others = {result.data.manifest for result in used if result.data.manifest} - {lock}
        if others:
            title = text.dataset_title(dataset)
            said.append(f"WARNING, {title} was measured on data {', '.join(sorted(others))}, and {lock} is frozen.")
    return said


def unavailable(table: MeasuredTable) -> list[str]:
    """Data sets whose rows say that nothing was run."""
    cells = [(name, cell) for row in table.rows for name, cell in row.planned.cells.items()]
    reasons = {name: cell.unavailable for name, cell in cells if cell.unavailable.startswith(NOT_RUN)}
    return [
        f"{text.dataset_title(name)}: not run here: "
        f"{table.unavailable.get(name) or reasons[name].removeprefix(f'{NOT_RUN}: ')}."
        for name in sorted(reasons)
    ]


def _by_dataset(table: MeasuredTable) -> dict[str, Result]:
    """One result per data set, the one with most missing, so that the caption never flatters."""
    worst: dict[str, Result] = {}
    for row in table.rows:
        for dataset in row.seeds:
            for result in row.used(dataset):
                if dataset not in worst or _loss(result) > _loss(worst[dataset]):
                    worst[dataset] = result
    return worst


def _loss(result: Result) -> tuple[str, int]:
    return result.data.data_class, len(result.data.missing)
