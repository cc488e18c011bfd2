"""Every file of text that petvr is given: read strictly, with one line that says where it is not what it should be.

What is mended is said on stderr, once a process: a separator that is not the usual one, the empty rows a spreadsheet
leaves. What can be read in two ways is an error. Rows are numbered as a spreadsheet does: the header is row 1.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from petvr.errors import PetvrError, mistake_in_words

LONGEST = 131_072  # letters of a cell: more is a quote that was never closed
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # as json.dumps escapes it
MARKS_OF_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@functools.cache
def say_once(line: str) -> None:
    print(f"petvr: {line}", file=sys.stderr)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, without a byte order mark."""
    try:
        if is_pipe_or_device(Path(path)):
            raise PetvrError(f"{path}: not a file")
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise PetvrError(f"{path}: no such file") from error
    except OSError as error:
        raise PetvrError(f"{path}: cannot be read ({error.strerror or error})") from error
    return decode_text(content, path)


def is_pipe_or_device(path: Path) -> bool:
    """What one would wait for, or never come to the end of."""
    return path.exists() and not path.is_file() and not path.is_dir()


def decode_text(content: bytes, path: Path) -> str:
    if content.startswith(MARKS_OF_UTF16):
        raise PetvrError(f"{path}: is text in UTF-16, not in UTF-8; save it as UTF-8 (a spreadsheet: `CSV UTF-8`)")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PetvrError(
            f"{path}: cannot be read as UTF-8 (byte {content[error.start]:#04x} in line {line}; Latin-1 perhaps); save "
            "it as UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise PetvrError(f"{path}: line {line} holds a NUL byte, so this is no text in UTF-8")
    return text


def read_lines(path: Path) -> list[str]:
    """The lines without edge blanks; empty lines are left out (copies of the lists differ in the last newline)."""
    return [line.strip() for _, line in numbered_lines(path)]


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """(line number from 1, line) of every line that holds something; only newlines end a line, blanks stay."""
    text = read_text(path).replace("\r\n", "\n")
    rows = text.split("\n" if "\n" in text else "\r")  # a lone carriage return ends a line where nothing else does
    return [(number, line) for number, line in enumerate(rows, start=1) if line.strip()]


def read_table(path: Path, columns: Sequence[str], *, filled: bool = True) -> dict[int, dict[str, str]]:
    """Row number -> column -> cell, without edge blanks; further columns of the file are kept.

    `columns` have to be in the header and, where `filled`, to hold something in every row.
    Raises PetvrError with row and column for a row that is longer or shorter than the header, a name that stands twice
    in the header, a cell below no name, a quote that is not closed, and what is no text in UTF-8.
    """
    lines, first = io.StringIO(read_text(path), newline="").readlines(), 1
    separator = _separator(lines[:1], columns)
    if lines and lines[0].startswith("sep="):  # a spreadsheet's own way of saying it
        separator, lines, first = lines[0][4:5], lines[1:], 2
    records = _records(path, lines, separator, first)
    number, header = next(records, (first, []))
    names = [name.strip() for name in header]
    _check_header(path, names, columns)
    if separator != ",":
        say_once(f"{path}: separated by {SEPARATORS.get(separator, repr(separator))}, and read so")
    rows: dict[int, dict[str, str]] = {}
    empty = []
    for number, fields in records:
        cells = [cell.strip() for cell in fields]
        if not any(cells):
            empty += [number] if cells else []
            continue
        where = f"{path}: row {number}"
        if len(cells) != len(names):
            _refuse_width(where, cells, names, separator)
        for column, (name, cell) in enumerate(zip(names, cells, strict=True), start=1):
            if cell and not name and column > 1:  # the first may be an index without a name
                raise PetvrError(f"{where}: column {column}: '{cell:.40}' stands below no name; has a comma no quotes?")
        rows[number] = {name: cell for name, cell in zip(names, cells, strict=True) if name}
        for name in columns if filled else ():
            if not rows[number][name]:
                raise PetvrError(f"{where}: '{name}' is empty")
    if empty:
        say_once(f"{path}: {len(empty):,} empty row(s) left out, the first is row {empty[0]}")
    return rows


def _separator(header: Sequence[str], columns: Sequence[str]) -> str:
    """The first of SEPARATORS under which the header has all columns; a comma where none does."""
    for separator in SEPARATORS:
        names = next(csv.reader(header, delimiter=separator), [])
        if set(columns) <= {name.strip() for name in names}:
            return separator
    return ","


def _records(path: Path, lines: list[str], separator: str, first: int) -> Any:
    """(row number, fields) of every record, an empty line included."""
    csv.field_size_limit(LONGEST)
    try:
        reader = csv.reader(iter(lines), delimiter=separator, strict=True)
    except (csv.Error, TypeError) as error:
        raise PetvrError(f"{path}: line 1: {separator!r} cannot separate columns") from error
    number, width = first - 1, 0
    while True:
        start, number = reader.line_num, number + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            why = "a quote opens here that is never closed" if _is_unclosed(error) else str(error)
            raise PetvrError(f"{path}: row {number}, line {start + first}: not CSV ({why})") from error
        if fields is None:
            return
        width = width or len(fields)
        inside = lines[start : reader.line_num]
        if len(inside) > 1 < width and all(line.count(separator) == width - 1 for line in inside):
            raise PetvrError(
                f"{path}: row {number}: lines {start + first} to {reader.line_num + first - 1} stand within one pair "
                "of quotes, though each would be a row; is a quote missing?"
            )
        yield number, fields


def _is_unclosed(error: csv.Error) -> bool:
    return "unexpected end" in str(error) or "field larger" in str(error)


def _check_header(path: Path, names: list[str], columns: Sequence[str]) -> None:
    for column in columns:
        if column not in names:
            present = ", ".join(name if name.isprintable() else repr(name) for name in names if name)[:200] or "none"
            near = next((name for name in names if name.lower() == column.lower()), "")
            hint = f"; is '{near}' meant?" if near else ""
            raise PetvrError(
                f"{path}: no column '{column}'; columns: {present} (in the first line, separated by commas, semicolons "
                f"or tabs){hint}"
            )
    for number, name in enumerate(names):
        if name and name in names[:number]:
            raise PetvrError(f"{path}: row 1: column '{name}' stands there twice")


def _refuse_width(where: str, cells: list[str], names: list[str], separator: str) -> None:
    if len(cells) < len(names):
        lacking = names[len(cells)] or f"column {len(cells) + 1}"
        raise PetvrError(f"{where}: {len(cells)} fields, the header has {len(names)}: '{lacking}' is missing")
    raise PetvrError(
        f"{where}: {len(cells)} fields, the header has {len(names)}; a text that holds '{separator}' needs quotes "
        f"(column {len(names) + 1}: '{cells[len(names)]:.40}')"
    )


def read_json(path: Path, shape: type, *, nan: bool = False) -> Any:
    """The parsed file, whose outermost value must be a `shape` (dict or list); a key may stand once in an object.

    nan: NaN and infinity, which JSON has not but Python writes, are left to the caller.
    """
    constant, number = (float, float) if nan else (_no_number, _finite)
    try:
        text = read_text(path)
        value = json.loads(text, parse_constant=constant, parse_float=number, object_pairs_hook=_each_key_once)
        if "\\u" in text:  # only as an escape can a text hold what nobody can write
            read = json.dumps(value, ensure_ascii=False)
            read.encode()  # fails for half a surrogate pair
            if NUL.search(read):
                raise ValueError("a text in it holds the character NUL")
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


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        _no_number(f"{text:.40}")
    return value


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for number, key in enumerate(keys) if key in keys[:number])
        raise ValueError(f"the key '{twice:.40}' stands twice in one object")
    return value


def typed(kind: Any, value: Any, where: object) -> Any:
    """What JSON gave as the type `kind`: a model, a dataclass, dict[str, int]. PetvrError with the first key amiss."""
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise PetvrError(f"{where}: {key + ': ' if key else ''}{mistake_in_words(first)}") from error


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def json_field(record: Any, key: str, path: Path, where: str, kind: type = str) -> Any:
    """`record[key]`, which must be there and of the type `kind`."""
    if not isinstance(record, dict) or key not in record:
        raise PetvrError(f"{path}: {where}: no key '{key}'")
    if not isinstance(record[key], kind):
        raise PetvrError(f"{path}: {where}: '{key}' is a {type(record[key]).__name__}, expected {kind.__name__}")
    return record[key]
