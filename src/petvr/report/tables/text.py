"""How numbers, rows and headings read, before a format dresses them up."""

from __future__ import annotations

from petvr.data import datasets
from petvr.papers import Column
from petvr.report.tables.aggregate import DECIMALS, Entry, MeasuredRow, MeasuredTable
from petvr.report.tables.read_results import SeedResult

HEADINGS = {  # of columns; the others are headed by their metric
    "params_M": "Params (M)",
    "params_percent": "Params (%)",
    "trains_M": "trains (M)",
    "adapter_MB": "Adapter file (MB)",
    "memory_G": "Peak memory (GiB)",
    "forward_gmacs": "Forward GMACs",
    "forward_gflops": "Forward GFLOPs",
    "pairs_s": "Pairs/s",
    "video_ms": "ms a video",
    "text_ms": "ms a text",
    "lr_clip": "Rate of CLIP",
    "lr_new": "of new",
    "lr_head": "of head",
}
EMPTY = "–"
DIRECTION_NAMES = {"t2v": "text → video", "v2t": "video → text"}
DIRECTION_SHORT = {"t2v": "T→V", "v2t": "V→T"}
VERDICTS = {"inside": "inside", "better": "outside", "worse": "outside", "open": "open"}  # beside a printed number
REPORTED_MARK, CLASS_C_MARK, LOST_MARK, EDGE_MARK = "°", "†", "‡", "§"
AS_GUESSED = "as guessed"  # how a row of tuned guesses names the one above it
AT_EDGE = "at the grid's edge"  # how the source of a tuned value says so


def number(value: float, column: Column) -> str:
    """Fixed digits for retrieval metrics, as many as its size asks for elsewhere; `3.2e-4` for a rate."""
    if column.metric.startswith("lr_"):
        digits, _, exponent = f"{value:.1e}".partition("e")
        return f"{digits.removesuffix('.0')}e{int(exponent)}"
    if value == 0 and DECIMALS[column.metric] is None:
        return "0"
    decimals = DECIMALS[column.metric]
    if decimals is None:
        decimals = 1 if value >= 100 else 2 if value >= 1 else 3 if value >= 0.01 else 5
    return f"{value:.{decimals}f}"


def measured(entry: Entry) -> str:
    """`44.6±0.2`, `44.6` with a single seed, a dash where nothing is measured."""
    if entry.ours is None:
        return EMPTY
    mean = number(entry.ours.mean, entry.column)
    exact = entry.column.direction is None and entry.ours.std == 0.0
    if entry.ours.std is None or exact:
        return mean
    two_digits = f"{float(f'{entry.ours.std:.2g}'):g}"
    return f"{mean}±{number(entry.ours.std, entry.column) if entry.column.direction else two_digits}"


def mark(row: MeasuredRow, entry: Entry) -> str:
    """Behind a number: of data of class C; of a rate that tuning chose at an end of what it tried."""
    if entry.ours is None:
        return ""
    results = row.used(entry.dataset)
    if entry.column.metric.startswith("lr_"):
        sources = [result.spec.sources.get(f"recipe.{entry.column.metric}") for result in results]
        return EDGE_MARK if any(one and AT_EDGE in one.where for one in sources) else ""
    return CLASS_C_MARK if "C" in {result.data.data_class for result in results} else ""


def gain(entry: Entry) -> str:
    """`↑0.5`: ours over the row over which the paper prints gains."""
    if entry.gain is None:
        return ""
    return f"{'↓' if entry.gain < 0 else '↑'}{abs(entry.gain):.{DECIMALS[entry.column.metric] or 1}f}"


def printed(entry: Entry) -> str:
    """The paper's own digits and gain, marked where the text at hand has lost them; a dash where none are."""
    if not entry.printed or not entry.printed.digits:
        return EMPTY
    digits = entry.printed.digits + (LOST_MARK if entry.printed.reconstructed else "")
    return f"{digits} ↑{entry.printed.gain}" if entry.printed.gain else digits


def emphasised(entry: Entry) -> str:
    """What the paper's own emphasis says: "bold", "underline" or ""."""
    return entry.printed.emphasised if entry.printed else ""


def front_headings(table: MeasuredTable) -> list[str]:
    """Above the columns that say what a row is, as the paper heads them."""
    return [*filter(None, [table.planned.row_heading]), *table.planned.label_columns]


def front(table: MeasuredTable, row: MeasuredRow) -> list[str]:
    """A text for each of them."""
    return [*([row.planned.name] if table.planned.row_heading else []), *row.planned.labels]


def compared(entry: Entry) -> str:
    """`+0.4 inside`: the difference to the printed value and the verdict; empty where there is none to show."""
    if entry.difference is None or entry.printed is None:
        return ""
    if entry.column.direction is None:
        decimals = max(entry.printed.decimals, 1)
        if entry.comparison == "inside":
            return "equal"
    else:
        decimals = DECIMALS[entry.column.metric] or 1
    sign = f"{entry.difference:+.{decimals}f}".replace("-", "−")
    return f"{sign} {VERDICTS[entry.comparison]}" if entry.comparison else sign


def verdict(entry: Entry) -> str:
    """In words: inside, outside, open, or why the two are not comparable; empty where nothing is printed or ours."""
    if entry.incomparable:
        return f"not comparable: {entry.incomparable}"
    return VERDICTS[entry.comparison] if entry.comparison else ""


def interval(entry: Entry) -> str:
    """`[42.1, 47.3] ab`: 95 % and the letters of rows that do not differ; empty where there is none."""
    uncertainty = entry.uncertainty
    if uncertainty is None:
        return ""
    low, high = (number(value, entry.column) for value in uncertainty.interval)
    return f"[{low}, {high}]" + (f" {uncertainty.letters}" if uncertainty.letters else "")


def versus(entry: Entry) -> str:
    """`+1.2 [−0.4, 2.8]`: against the row that others are compared with; `*` where they differ after Holm."""
    uncertainty = entry.uncertainty
    if uncertainty is None or uncertainty.versus is None:
        return ""
    decimals = DECIMALS[entry.column.metric] or 1
    difference = uncertainty.versus
    star = "*" if uncertainty.differs else ""
    shown = f"{difference.value:+.{decimals}f}{star} [{difference.low:.{decimals}f}, {difference.high:.{decimals}f}]"
    return shown.replace("-", "−")


def other(table: MeasuredTable, row: MeasuredRow) -> str:
    """What a row is compared with."""
    return AS_GUESSED if row.planned.as_guessed else " or ".join(table.versus)


def more_lines(table: MeasuredTable, row: MeasuredRow) -> list[tuple[str, list[str]]]:
    """(what it is, a text per column) of what stands below a row where `intervals` are asked for."""
    lines = [("95 %", [interval(entry) for entry in row.entries])]
    if table.versus:
        lines.append((f"minus {other(table, row)}", [versus(entry) for entry in row.entries]))
    return [line for line in lines if table.intervals and any(line[1])]


def has_printed(row: MeasuredRow) -> bool:
    return any(entry.printed for entry in row.entries)


def seeds_by_dataset(row: MeasuredRow) -> dict[str, str]:
    """Data set -> `3`, `n=1`, `2 of 3 seeds (missing)`, or why nothing is run."""
    texts = {}
    for dataset, cell in row.planned.cells.items():
        if dataset in row.seeds:
            texts[dataset] = _seeds_of(row.seeds[dataset])
        else:
            texts[dataset] = cell.unavailable + (REPORTED_MARK if cell.unavailable == "reported only" else "")
    return texts


def seeds(row: MeasuredRow) -> str:
    """The last column in one line; per data set where they differ."""
    texts = seeds_by_dataset(row)
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{dataset_title(dataset)}: {text}" for dataset, text in texts.items())


def _seeds_of(seeds: tuple[SeedResult, ...]) -> str:
    ok = sum(seed.state == "ok" for seed in seeds)
    if ok == len(seeds):
        return "n=1" if ok == 1 else str(ok)
    worst = next(state for state in ("failed", "stale", "missing") if any(seed.state == state for seed in seeds))
    return f"{ok} of {len(seeds)} seeds ({worst})" if ok else worst


def heading(row: MeasuredRow) -> str:
    """What stands above a block of rows."""
    return " · ".join(part for part in (row.planned.block, row.planned.group) if part)


def dataset_title(name: str) -> str:
    """As the papers write it; the name of a user's own."""
    return datasets.titles().get(name, name)


def column_heading(column: Column) -> str:
    return HEADINGS.get(column.metric, column.metric)


def column_title(column: Column) -> str:
    """One line: `MSVD T→V R@1`; direction and data set only where the table has several or needs them."""
    parts = [dataset_title(column.dataset)] if column.dataset else []
    if column.direction:
        parts.append(DIRECTION_SHORT[column.direction])
    return " ".join([*parts, column_heading(column)])


def spans(names: list[str]) -> list[tuple[str, int]]:
    """Neighbouring equal headings joined: `["a", "a", "b"]` to `[("a", 2), ("b", 1)]`."""
    joined: list[tuple[str, int]] = []
    for name in names:
        if joined and joined[-1][0] == name:
            joined[-1] = (name, joined[-1][1] + 1)
        else:
            joined.append((name, 1))
    return joined


def header_rows(table: MeasuredTable) -> list[list[tuple[str, int]]]:
    """Headings above the metric names, widest first: data sets (if columns differ in them), then directions."""
    columns = table.columns
    rows = []
    if any(column.dataset for column in columns):
        rows.append(spans([dataset_title(column.dataset) if column.dataset else "" for column in columns]))
    if any(column.direction for column in columns):
        names = [DIRECTION_NAMES.get(column.direction or "", "") for column in columns]
        datasets = [column.dataset or "" for column in columns]
        joined = spans([f"{dataset}\0{name}" for dataset, name in zip(datasets, names, strict=True)])
        rows.append([(name.partition("\0")[2], width) for name, width in joined])
    return rows
