"""Annotation files read with one clear error each: missing, not text, not JSON, without a column or key."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from petvr.errors import PetvrError


def text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise PetvrError(f"{path}: annotation file is missing") from error
    except (OSError, UnicodeDecodeError) as error:
        raise PetvrError(f"{path}: cannot be read as UTF-8 text ({error})") from error


def lines(path: Path) -> list[str]:
    """The lines without edge blanks; empty lines are left out (copies of the lists differ in the last newline)."""
    return [line.strip() for line in text(path).splitlines() if line.strip()]


def numbered(path: Path) -> list[tuple[int, str]]:
    """(line number from 1, line) of every line that holds something; only newlines end a line, blanks stay."""
    rows = text(path).replace("\r\n", "\n").split("\n")
    return [(number, line) for number, line in enumerate(rows, start=1) if line.strip()]


def json_file(path: Path, shape: type) -> Any:
    """The parsed file, whose outermost value must be a `shape` (dict or list)."""
    try:
        value = json.loads(text(path), parse_constant=_no_number)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair, escaped, is text that nobody can write
    except json.JSONDecodeError as error:
        raise PetvrError(f"{path}: not JSON (line {error.lineno}: {error.msg})") from error
    except ValueError as error:  # also a number of thousands of digits
        raise PetvrError(f"{path}: cannot be used ({error})") from error
    except RecursionError as error:
        raise PetvrError(f"{path}: nested too deeply") from error
    if not isinstance(value, shape):
        raise PetvrError(f"{path}: holds a {type(value).__name__}, expected a {shape.__name__}")
    return value


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def csv_rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows as dicts; every one of `columns` must be in the header and filled in every row."""
    rows = csv_table(path, columns)
    for number, row in enumerate(rows, start=1):
        for column in columns:
            if not (row[column] or "").strip():
                raise PetvrError(f"{path}: '{column}' is empty in data row {number}")
    return rows


def csv_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows as dicts; every one of `columns` must be in the header, a short row has None in the last ones."""
    reader = csv.DictReader(io.StringIO(text(path), newline=""), strict=True)  # a quote that never ends is told
    try:
        reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
        rows = list(reader)
    except csv.Error as error:
        raise PetvrError(f"{path}: line {reader.line_num}: not CSV ({error})") from error
    for column in columns:
        if column not in reader.fieldnames:
            columns_here = ", ".join(reader.fieldnames) or "none"
            raise PetvrError(
                f"{path}: no column '{column}'; columns: {columns_here} (separated by commas, in the first line)"
            )
    return rows


def field(record: Any, key: str, path: Path, where: str, kind: type = str) -> Any:
    """`record[key]`, which must be there and of the type `kind`."""
    if not isinstance(record, dict) or key not in record:
        raise PetvrError(f"{path}: {where}: no key '{key}'")
    if not isinstance(record[key], kind):
        raise PetvrError(f"{path}: {where}: '{key}' is a {type(record[key]).__name__}, expected {kind.__name__}")
    return record[key]
