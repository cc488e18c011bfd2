"""printed.csv: every number a paper prints in its tables, with the digits and the damage it has."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from petvr.errors import PetvrError


class Printed(NamedTuple):
    """A printed number. `value` is None where the cell is a dash or damaged beyond proof.

    `text` holds the number's own digits, or the dash or damage that stands there; `cell` the whole printed cell,
    which may feed several columns (`47.7/208.2`).
    """

    value: float | None
    std: float | None
    text: str
    cell: str
    emphasised: str  # "bold", "underline", or "" (also where emphasis was lost)
    remark: str


PrintedKey = tuple[str, str, str, str]  # row key, data set, direction, metric

PRINTED_COLUMNS = ("table", "row", "dataset", "direction", "metric", "value", "std", "printed", "emphasised", "remark")


def read(path: Path) -> dict[str, dict[PrintedKey, Printed]]:
    """Table name -> its printed cells. Raises PetvrError with the line for repeated cells and broken numbers."""
    tables: dict[str, dict[PrintedKey, Printed]] = {}
    for line, row in _lines(path):
        key = (row["row"], row["dataset"], row["direction"], row["metric"])
        cells = tables.setdefault(row["table"], {})
        if key in cells:
            raise PetvrError(f"{path}: line {line}: {'/'.join(key)} stands there twice")
        try:
            value, std = (float(row[name]) if row[name] else None for name in ("value", "std"))
        except ValueError as error:
            raise PetvrError(f"{path}: line {line}: value and std must be numbers or empty") from error
        text = row["value"] or row["printed"]
        cells[key] = Printed(value, std, text, row["printed"], row["emphasised"], row["remark"])
    return tables


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Lines of printed.csv with their numbers. Raises PetvrError if the file or a column is missing."""
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in PRINTED_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise PetvrError(f"{path}: missing column {', '.join(missing)}")
            yield from enumerate(reader, start=2)
    except FileNotFoundError as error:
        raise PetvrError(f"{path}: no such file") from error
