"""What is written around a table: title, how to read it, what its data are, notes on rows."""

from __future__ import annotations

from petvr.papers.table import OWN
from petvr.report.tables import data, measure, text
from petvr.report.tables.compute import Line, Table
from petvr.report.tables.model import NOT_RUN
from petvr.result import Result

PAPER_TITLES = {
    "vop": "VoP",
    "rap": "RAP",
    "mv_adapter": "MV-Adapter",
    "cross_modal_adapter": "Cross-Modal Adapter",
    OWN: "Own data",
}


def title(table: Table) -> str:
    paper = PAPER_TITLES.get(table.model.paper, table.model.paper)
    kinds = {result.data.data_class for result in table.used()}
    suffix = ""
    if table.world == "synthetic":
        suffix = " [synthetic world]"
    elif "D" in kinds and table.model.paper != OWN:
        suffix = " [subset, not comparable]"
    return f"{paper}, {table.model.table.replace('_', ' ')}: {table.model.title}{suffix}"


def caption(table: Table) -> list[str]:
    """One sentence each, in the order a reader needs them."""
    if not table.used():
        said = "Nothing is measured yet" + ("; the paper's printed values stand alone." if table.model.printed else ".")
        return [said, *_reading(table), *data.lacking(table)]
    return [
        *(f"WARNING, different data in one table: {what}." for what in table.mixed),
        *_how(table),
        *data.sentences(table),
    ]


def _how(table: Table) -> list[str]:
    said = [_seeds(table), _rule(table)]
    variants = {
        seed.result.spec.recipe.dsl
        for line in table.lines
        for dataset, want in line.row.wants.items()
        for seed in line.used(dataset)
        if want.scores == "dsl" and seed.result
    }
    if variants:
        said.append(f"Rows ranked with dual-softmax are named in the notes (variant: {', '.join(sorted(variants))}).")
    said.append(_precision(table))
    return said + _reading(table)


def _seeds(table: Table) -> str:
    used = sorted({seed.seed for line in table.lines for seed in line.used()})
    return f"Mean±sample standard deviation over seeds (ddof=1; seeds {', '.join(map(str, used))}; n=1: a single run)."


def _precision(table: Table) -> str:
    """Names the rows of every arithmetic but the commonest."""
    rows: dict[str, dict[str, None]] = {}
    for line in table.lines:
        for result in _results(line):
            rows.setdefault(result.spec.recipe.precision, {})[text.row_name(table, line)] = None
    first, *others = sorted(rows, key=lambda name: -len(rows[name]))
    return "; ".join([f"Arithmetic: {first}", *(f"{name} in {', '.join(rows[name])}" for name in others)]) + "."


def _rule(table: Table) -> str:
    rules: dict[str, set[str]] = {}
    for result in table.used():
        name = measure.rule_of(result, table.rule)
        detail = f"by {result.spec.recipe.select_by}" if name.startswith("best") else ""
        rules.setdefault(name, set()).add(detail)
    told = [f"{name} {' and '.join(sorted(filter(None, how)))}".strip() for name, how in sorted(rules.items())]
    why = "asked for with --rule" if table.rule else "as the recipe says"
    return f"Evaluation shown: {', '.join(told)} ({why})."


def _reading(table: Table) -> list[str]:
    said = []
    if any(cell.place for line in table.lines for cell in line.cells):
        said.append("Bold: best measured value; underlined: second best.")
    if not any(text.has_printed(line) for line in table.lines):
        return said
    if table.world == "synthetic":
        said.append(
            "Measured on a generated world of moving shapes; the paper's values, for other data and another "
            "backbone, stand below for orientation and no difference is taken."
        )
    elif any(cell.difference is not None for line in table.lines for cell in line.cells):
        marks = text.VERDICT_MARKS
        said.append(
            "Below each row the value the paper prints and our difference to it: "
            f"{marks['inside']} the printed value lies within 2 standard deviations of our mean "
            f"(parameters: equal at all printed digits), {marks['better']} ours is better, {marks['worse']} worse."
        )
    counted = [cell for line in table.lines for cell in line.cells if cell.column.metric.startswith("params")]
    if any(cell.difference is not None and cell.verdict is None for cell in counted):
        said.append(
            "Parameters count every trained number; the command petvr params tells where a paper counts otherwise."
        )
    return said


def _results(line: Line) -> list[Result]:
    return [seed.result for seed in line.used() if seed.result is not None]


def notes(table: Table) -> list[str]:
    """One per row that needs a word: approximated, not run here, failed, missing, dual-softmax, doubtful figures."""
    said = []
    for line in table.lines:
        name = _name(table, line)
        if line.row.note.startswith("approximation"):
            said.append(f"{name}: {line.row.note}.")
        for status, (note, datasets) in _not_run(line).items():
            if (status == "not selected" and not note) or status.startswith(NOT_RUN):
                continue  # the row itself says so, the caption why
            mark = f"{text.REPORTED_MARK} " if status == "reported only" else ""
            where = (
                ""
                if len(datasets) == len(line.row.wants)
                else f" on {', '.join(map(table.model.dataset_title, datasets))}"
            )
            said.append(f"{mark}{name}: {status}{where}{f': {note}' if note else ''}.")
        for dataset, want in line.row.wants.items():
            if want.note and dataset in line.seeds:
                said.append(f"{name}, {table.model.dataset_title(dataset)}: printed values seem copied: {want.note}.")
        if any(want.scores == "dsl" for want in line.row.wants.values()):
            said.append(f"{name}: ranked with dual-softmax.")
        for seeds in line.seeds.values():
            for seed in seeds:
                if seed.state in ("failed", "stale"):
                    said.append(f"{name}: {seed.run} {seed.state}: {seed.reason}.")
            missing = [seed for seed in seeds if seed.state == "missing"]
            if missing and len(missing) < len(seeds):
                said.append(f"{name}: missing {', '.join(f'seed {s.seed} ({s.reason})' for s in missing)}.")
        for cell in line.cells:
            if cell.printed and cell.printed.remark and cell.printed.text == "?":
                said.append(f"{name}, {cell.column.key}: {cell.printed.remark}.")
    return [sentence.replace("..", ".") for sentence in said]


def _not_run(line: Line) -> dict[str, tuple[str, list[str]]]:
    """Status -> (note, data sets) of what is not run here."""
    found: dict[str, tuple[str, list[str]]] = {}
    for dataset, want in line.row.wants.items():
        if dataset not in line.seeds:
            found.setdefault(want.status or "not planned", (want.note, []))[1].append(dataset)
    return found


def _name(table: Table, line: Line) -> str:
    head = text.heading(line)
    name = text.row_name(table, line)
    return f"{name} ({head})" if head else name
