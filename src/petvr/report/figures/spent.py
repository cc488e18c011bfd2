"""Time and memory of training: those of the runs, or of a file that `petvr costs --format csv` wrote.

A file holds measured steps where it was written with --measure, else counted operations and activations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from petvr.errors import PetvrError
from petvr.papers.cells import parse_id, split_method
from petvr.result import Result
from petvr.spec import NUMBER
from petvr.text_files import read_table

# what is read from the file, best first, and what stands at the axis then
FILE_COLUMNS = {
    "time": {"step_ms": "time of a measured step", "step_gflops": "counted operations of a step"},
    "memory": {"peak_mb": "peak memory of a measured step", "activations_mb": "activations kept for the backward pass"},
}
OF_RUNS = {"time": "training time of a pair", "memory": "peak memory"}


@dataclass(frozen=True)
class Costs:
    lines: list[dict[str, str]]
    columns: dict[str, str]  # time, memory -> column of the file

    def label(self, name: str) -> str:
        return FILE_COLUMNS[name][self.columns[name]]


def read_costs(path: str | Path) -> Costs:
    """Lines of `petvr costs --format csv`. PetvrError for a file that is none."""
    needed = ("method", "backbone", "similarity", "step_gflops", "activations_mb")
    try:
        rows = read_table(Path(path), needed)
        if not rows:
            raise PetvrError(f"{path}: has no line")
        columns = {
            name: next(k for k in kinds if all(row.get(k) for row in rows.values()))
            for name, kinds in FILE_COLUMNS.items()
        }
        for number, row in rows.items():
            split_method(
                row["method"], f"{path}: row {number}: method: '{row['method']}' is not of the form NAME[@...]"
            )
            for column in columns.values():
                if not (NUMBER.fullmatch(row[column]) and 0 <= float(row[column]) < math.inf):
                    raise PetvrError(
                        f"{path}: row {number}: {column}: '{row[column]:.40}' given, allowed: a number, 0 or more"
                    )
    except PetvrError as error:
        raise PetvrError(f"{error}; it is written by petvr costs --format csv") from error
    return Costs(list(rows.values()), columns)


def spent_by(result: Result, name: str, costs: Costs | None) -> float | None:
    """Time or memory of one run; None where it was not measured, or the file has no line for it."""
    if costs is not None:
        line = _line_of(result.id, costs)
        return float(line[costs.columns[name]]) if line else None
    if name == "time":
        return 1 / result.cost.pairs_per_second if result.cost.pairs_per_second else None
    return float(result.cost.peak_memory_bytes) if result.cost.peak_memory_bytes else None


def _line_of(run: str, costs: Costs) -> dict[str, str] | None:
    """The line of the run's backbone, method and setting; a run's id may also name fields of its recipe."""
    parts = parse_id(run)
    setting = set(parts.setting.items())
    best: tuple[int, dict[str, str]] | None = None
    for line in costs.lines:
        method, written = split_method(line["method"])
        similar = parts.setting.get("similarity", line["similarity"]) == line["similarity"]
        fits = (method, line["backbone"]) == (parts.method, parts.backbone) and set(written.items()) <= setting
        if fits and similar and (best is None or len(written) > best[0]):
            best = (len(written), line)
    return best[1] if best else None
