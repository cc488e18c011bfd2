"""printed.csv: every number a paper prints in its tables, with the digits and the damage it has."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

from petvr.errors import PetvrError, unknown
from petvr.text_files import read_table


class Printed(NamedTuple):
    """A printed number. `value` is None where the cell is a dash or damaged beyond proof.

    `text` holds the number's own digits, or the dash or damage that stands there; `cell` the whole printed cell,
    which may feed several columns (`47.7/208.2`).
    """

    value: float | None
    std: float | None
    text: str
    cell: str = ""
    emphasised: str = ""  # "bold", "underline", or "" (also where emphasis was lost)
    remark: str = ""
    std_digits: str = ""  # as printed: "1.0" stays

    @property
    def digits(self) -> str:
        """The number with the digits the paper prints and its deviation; "" for a dash, "?" where it is damaged."""
        if self.value is None:
            return "" if self.text in ("", "-") else "?"
        same = [text for text in re.findall(r"\d+(?:\.\d+)?", self.text) if float(text) == abs(self.value)]
        text = max(same, key=len) if same else f"{abs(self.value):g}"
        text = f"-{text}" if self.value < 0 else text
        return text if self.std is None else f"{text}±{self.std_digits or f'{self.std:g}'}"

    @property
    def reconstructed(self) -> bool:
        """Whether the cell at hand is lost or damaged, so that the number was told from elsewhere."""
        return self.value is not None and bool(self.remark) and self.digits.partition("±")[0] not in self.cell

    @property
    def gain(self) -> str:
        """`0.5` of `45.4(↑0.5)`, the printed lead over another row; "" where none is printed."""
        lead = re.search(r"↑\s*([\d.]+)", self.cell)
        return lead[1] if lead else ""

    @property
    def decimals(self) -> int:
        return len(self.digits.partition("±")[0].partition(".")[2]) if self.value is not None else 0


PrintedKey = tuple[str, str, str, str]  # row key, data set, direction, metric

EMPHASES = ("bold", "underline", "")
PRINTED_COLUMNS = {
    "table": "name of the table in tables.yaml",
    "row": "name of the row; with its block in brackets where it has one: `RAP [ViT-B/32]`",
    "dataset": "one of the table's data sets",
    "direction": "t2v, v2t, or none for parameters, memory and compute",
    "metric": "as in the table's columns",
    "value": "the number with its printed digits; empty for a dash or where the cell cannot be read",
    "std": "the printed standard deviation; empty where there is none",
    "printed": "the whole cell as printed, which may hold several numbers",
    "emphasised": "bold, underline, or empty",
    "remark": "what is known of a damaged or doubtful cell",
}


def read_printed(path: Path) -> dict[str, dict[PrintedKey, Printed]]:
    """Table name -> its printed cells. Raises PetvrError with the row for repeated cells and broken numbers."""
    tables: dict[str, dict[PrintedKey, Printed]] = {}
    for number, row in read_table(path, tuple(PRINTED_COLUMNS), filled=False).items():
        key = (row["row"], row["dataset"], row["direction"], row["metric"])
        cells = tables.setdefault(row["table"], {})
        if key in cells:
            raise PetvrError(f"{path}: row {number}: {'/'.join(key)} stands there twice")
        try:
            value, std = (float(row[name]) if row[name] else None for name in ("value", "std"))
            if not all(math.isfinite(number) for number in (value, std) if number is not None):
                raise ValueError("NaN or infinity")
        except ValueError as error:
            given = f"value '{row['value']}' and std '{row['std']}' given"
            raise PetvrError(f"{path}: row {number}: value and std must be numbers or empty: {given}") from error
        if std is not None and std < 0:
            raise PetvrError(f"{path}: row {number}: std: {row['std']} given, allowed: 0 or more, or empty")
        if row["emphasised"] not in EMPHASES:
            raise unknown("emphasis", row["emphasised"], filter(None, EMPHASES), f"{path}: row {number}: emphasised")
        text = row["value"] or row["printed"]
        cells[key] = Printed(value, std, text, row["printed"], row["emphasised"], row["remark"], row["std"])
    return tables
