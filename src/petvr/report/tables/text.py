"""How numbers, rows and headings read, before a format dresses them up."""

from __future__ import annotations

from petvr.report.tables.compute import Cell, Line, Table
from petvr.report.tables.model import METRICS, Column

EMPTY = "–"
DIRECTION_NAMES = {"t2v": "text → video", "v2t": "video → text"}
DIRECTION_SHORT = {"t2v": "T→V", "v2t": "V→T"}
VERDICT_MARKS = {"inside": "✓", "better": "▲", "worse": "▼"}
REPORTED_MARK, CLASS_C_MARK = "°", "†"


def number(value: float, column: Column) -> str:
    """Fixed digits for retrieval metrics, as many as its size asks for elsewhere."""
    decimals = METRICS[column.metric][1]
    if decimals is None:
        decimals = 1 if value >= 100 else 2 if value >= 1 else 3 if value >= 0.01 else 5
    return f"{value:.{decimals}f}"


def measured(cell: Cell) -> str:
    """`44.6±0.2`, `44.6` with a single seed, a dash where nothing is measured."""
    if cell.ours is None:
        return EMPTY
    mean = number(cell.ours.mean, cell.column)
    exact = cell.column.direction is None and cell.ours.std == 0.0
    if cell.ours.std is None or exact:
        return mean
    return f"{mean}±{number(cell.ours.std, cell.column) if cell.column.direction else f'{cell.ours.std:.2g}'}"


def class_mark(line: Line, cell: Cell) -> str:
    kinds = {seed.result.data.data_class for seed in line.used(cell.dataset) if seed.result}
    return CLASS_C_MARK if cell.ours and "C" in kinds else ""


def printed(cell: Cell) -> str:
    """The paper's own digits, a dash where it prints none."""
    return (cell.printed.text or EMPTY) if cell.printed else EMPTY


def compared(cell: Cell) -> str:
    """`+0.4 ✓`: the difference to the printed value and what it means; empty where there is none to show."""
    if cell.difference is None or cell.printed is None:
        return ""
    if cell.column.direction is None:
        decimals = max(cell.printed.decimals, 1)
        if cell.verdict == "inside":
            return VERDICT_MARKS["inside"]
    else:
        decimals = METRICS[cell.column.metric][1] or 1
    sign = f"{cell.difference:+.{decimals}f}".replace("-", "−")
    return f"{sign} {VERDICT_MARKS[cell.verdict]}" if cell.verdict else sign


def has_printed(line: Line) -> bool:
    return any(cell.printed for cell in line.cells)


def seeds_by_dataset(line: Line) -> dict[str, str]:
    """Data set -> `3`, `n=1`, `2 of 3 seeds (missing)`, or why nothing is run."""
    told = {}
    for dataset, want in line.row.wants.items():
        if dataset in line.seeds:
            told[dataset] = _seeds_of(line.seeds[dataset])
        else:
            told[dataset] = want.status + (REPORTED_MARK if want.status == "reported only" else "")
    return told


def seeds(table: Table, line: Line) -> str:
    """The last column in one line; per data set where they differ."""
    told = seeds_by_dataset(line)
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return ", ".join(f"{table.model.dataset_title(dataset)}: {text}" for dataset, text in told.items())


def _seeds_of(found: tuple) -> str:
    ok = sum(seed.state == "ok" for seed in found)
    if ok == len(found):
        return "n=1" if ok == 1 else str(ok)
    worst = next(state for state in ("failed", "stale", "missing") if any(seed.state == state for seed in found))
    return f"{ok} of {len(found)} seeds ({worst})" if ok else worst


def row_name(table: Table, line: Line) -> str:
    """The printed name, with the first words of its note where another row beside it has the same name."""
    row = line.row
    twins = [other.row for other in table.lines if (other.row.name, other.row.block) == (row.name, row.block)]
    note = row.note.partition(";")[0].strip()
    return f"{row.name} ({note})" if len(twins) > 1 and note else row.name


def heading(line: Line) -> str:
    """What stands above a block of rows."""
    return " · ".join(part for part in (line.row.block, line.row.group) if part)


def column_title(table: Table, column: Column) -> str:
    """One line: `MSVD T→V R@1`; direction and data set only where the table has several or needs them."""
    parts = [table.model.dataset_title(column.dataset)] if column.dataset else []
    if column.direction:
        parts.append(DIRECTION_SHORT[column.direction])
    return " ".join([*parts, column.heading])


def spans(names: list[str]) -> list[tuple[str, int]]:
    """Neighbouring equal headings joined: `["a", "a", "b"]` to `[("a", 2), ("b", 1)]`."""
    joined: list[tuple[str, int]] = []
    for name in names:
        if joined and joined[-1][0] == name:
            joined[-1] = (name, joined[-1][1] + 1)
        else:
            joined.append((name, 1))
    return joined


def header_rows(table: Table) -> list[list[tuple[str, int]]]:
    """Headings above the metric names, widest first: data sets (if columns differ in them), then directions."""
    columns = table.model.columns
    rows = []
    if any(column.dataset for column in columns):
        rows.append(spans([table.model.dataset_title(column.dataset) if column.dataset else "" for column in columns]))
    if any(column.direction for column in columns):
        names = [DIRECTION_NAMES.get(column.direction or "", "") for column in columns]
        datasets = [column.dataset or "" for column in columns]
        joined = spans([f"{dataset}\0{name}" for dataset, name in zip(datasets, names, strict=True)])
        rows.append([(name.partition("\0")[2], width) for name, width in joined])
    return rows
