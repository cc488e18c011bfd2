"""Cells and run ids as text: what a person types, and the list `petvr cells` prints."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import NamedTuple

from petvr.errors import PetvrError
from petvr.papers.plan import Plan
from petvr.spec import method_id


class RunId(NamedTuple):
    """The parts of `vop/msrvtt-7k/vit-b-32/vop@tokens=8/seed-0`; values of the setting stay text."""

    paper: str
    dataset: str
    backbone: str
    method: str
    setting: dict[str, str]
    seed: int | None  # None for the id of a cell

    @property
    def cell(self) -> str:
        return "/".join([self.paper, self.dataset, self.backbone, method_id(self.method, self.setting)])


def parse_id(text: str) -> RunId:
    """Take the id of a run or of a cell apart. Raises PetvrError, showing the form, if it is neither."""
    form = "paper/dataset/backbone/method[@key=value,...][/seed-0]"
    parts = text.split("/")
    seed = None
    if len(parts) == 5 and parts[4].startswith("seed-") and parts[4][5:].isdecimal() and len(parts[4]) < 20:
        seed = int(parts.pop()[5:])
    if len(parts) != 4 or not all(parts):
        raise PetvrError(f"{text!r:.150} is not an id of the form {form}")
    method, setting = split_method(parts[3], f"{text!r:.150} is not an id of the form {form}")
    return RunId(parts[0], parts[1], parts[2], method, setting, seed)


def split_method(text: str, complaint: str = "") -> tuple[str, dict[str, str]]:
    """`vop@tokens=8` -> ("vop", {"tokens": "8"}). Raises PetvrError, with `complaint` in front, if it is not so."""
    complaint = complaint or f"{text!r:.150} is not of the form method[@key=value,...]"
    method, at, written = text.partition("@")
    setting = {}
    for item in written.split(",") if at else []:
        key, equals, value = item.partition("=")
        if not (key and equals and value) or key in setting:
            raise PetvrError(f"{complaint}: {item!r:.60}")
        setting[key] = value
    if not method:
        raise PetvrError(complaint)
    return method, setting


CELL_COLUMNS = ("id", "paper", "tables", "dataset", "backbone", "method", "setting", "seed", "status")


def cells_csv(plan: Plan, status_of: Callable[[str], str]) -> str:
    """One line per run, with `status_of(run id)`; one line per cell that cannot run, with the reason as its status.

    Columns: CELL_COLUMNS; tables are separated by spaces, the setting is written as in the id.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CELL_COLUMNS)
    for cell in plan.cells.values():
        setting = cell.id.rpartition("/")[2].partition("@")[2]
        tables = " ".join(plan.tables_of.get(cell.id, ())) or cell.used_in
        common = [cell.paper, tables, cell.dataset, cell.backbone, cell.method, setting]
        if not cell.runs:
            writer.writerow([cell.id, *common, "", cell.unavailable])
        for run in cell.runs:
            writer.writerow([run, *common, plan.runs[run].seed, status_of(run)])
    return out.getvalue()
