"""What is written around a table: title, how to read it, what its data are, notes on rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from petvr.papers.table import OWN, Cell
from petvr.report.tables import data_notes, provenance, text
from petvr.report.tables.aggregate import NOT_RUN, SIZES, MeasuredRow, MeasuredTable
from petvr.report.tables.read_results import rule_of

BEST = "Search with the tuned method that is best on validation"
MANY = 10  # rows up to which letters are exact in any case


def title(table: MeasuredTable) -> str:
    kinds = {result.data.data_class for result in table.used()}
    suffix = ""
    if table.world == "synthetic":
        suffix = " [synthetic world]"
    elif "D" in kinds and table.planned.paper != OWN:
        suffix = " [subset, not comparable]"
    return f"{table.planned.paper_title}, {table.planned.name.replace('_', ' ')}: {table.planned.title}{suffix}"


def caption(table: MeasuredTable) -> list[str]:
    """One sentence each, in the order a reader needs them."""
    if not table.used():
        alone = "; the paper's printed values stand alone." if table.planned.printed else "."
        return [f"Nothing is measured yet{alone}", *_reading(table), *data_notes.unavailable(table)]
    return [
        *(f"WARNING, different data in one table: {what}." for what in table.mixed),
        *_how(table),
        *data_notes.sentences(table),
    ]


def _how(table: MeasuredTable) -> list[str]:
    said = [_seeds(table), _rule(table)]
    variants = {
        result.spec.recipe.dsl
        for row in table.rows
        for dataset, cell in row.planned.cells.items()
        for result in row.used(dataset)
        if cell.evaluate == "dsl"
    }
    if variants:
        said.append(f"Rows ranked with dual-softmax are named in the notes (variant: {', '.join(sorted(variants))}).")
    said.append(_precision(table))
    return said + _reading(table)


def _seeds(table: MeasuredTable) -> str:
    used = sorted({result.spec.seed for result in table.used()})
    return f"Mean±sample standard deviation over seeds (ddof=1; seeds {', '.join(map(str, used))}; n=1: a single run)."


def _precision(table: MeasuredTable) -> str:
    """Names the rows of every arithmetic but the commonest."""
    rows: dict[str, dict[str, None]] = {}
    for row in table.rows:
        for result in row.used():
            rows.setdefault(result.spec.recipe.precision, {})[row.planned.name] = None
    first, *others = sorted(rows, key=lambda name: -len(rows[name]))
    return "; ".join([f"Arithmetic: {first}", *(f"{name} in {', '.join(rows[name])}" for name in others)]) + "."


def _rule(table: MeasuredTable) -> str:
    rules: dict[str, set[str]] = {}
    for result in table.used():
        name = rule_of(result, table.rule)
        detail = f"by {result.spec.recipe.select_by}" if name.startswith("best") else ""
        rules.setdefault(name, set()).add(detail)
    shown = [f"{name} {' and '.join(sorted(filter(None, how)))}".strip() for name, how in sorted(rules.items())]
    why = "asked for with --rule" if table.rule else "as the recipe says"
    how = {
        "best_on_test": "the test split chose the epoch",
        "best_on_val": "a validation split chose the epoch",
    }
    chosen = "; ".join(text for rule, text in how.items() if rule in rules)
    return f"Evaluation shown: {', '.join(shown)} ({why}{f'; {chosen}' if chosen else ''})."


def _reading(table: MeasuredTable) -> list[str]:
    said = []
    metrics = {column.metric for column in table.columns}
    if metrics & set(SIZES):
        paper = f"as {table.planned.paper_title} counts" if table.planned.paper != OWN else "every number that trains"
        said.append(f"Params: counted on the model, {paper}; trains: every number that a run trains.")
    elif "trains_M" in metrics:
        said.append("Trains: every number that a run trains.")
    if "forward_gmacs" in metrics:
        said.append("Forward GMACs: 1e9 multiply-adds of one pair's forward pass, counted on the model.")
    if "memory_G" in metrics:
        said.append(
            "Peak memory: ours is what one device allocated at most with the whole batch of the recipe (on a CPU the "
            "process's resident memory)"
            + (
                "; of the printed one only the number of cards is known, so no difference is taken."
                if table.planned.printed
                else "."
            )
        )
    if "forward_gflops" in metrics:
        said.append(
            "Forward GFLOPs: 1e9 operations of one pair's forward pass, a multiply-add as 2, counted on the model."
        )
    if metrics & {"pairs_s", "video_ms", "text_ms"}:
        said += _speeds(table)
    if metrics & {"lr_clip", "lr_new", "lr_head"}:
        said.append("Rates: of CLIP's own, of new and of the similarity's parameters, where a row trains such.")
        if any(text.EDGE_MARK in text.mark(row, entry) for row in table.rows for entry in row.entries):
            said.append(f"{text.EDGE_MARK}: the best of those tried, at their end: a better one may lie beyond.")
    if any(entry.rank for row in table.rows for entry in row.entries):
        said.append("Bold: best measured value; underlined: second best.")
    if any(entry.uncertainty for row in table.rows for entry in row.entries):
        said += _uncertainty(table)
    if any(row.planned.as_guessed for row in table.rows):
        said.append(
            "Rows (guesses tuned): the row above with its guessed rates replaced by the best of the trials on "
            "validation; arrows: the gain over it, with an interval where differences stand."
        )
    if not any(text.has_printed(row) for row in table.rows):
        return said
    if table.world == "synthetic":
        said.append(
            "Measured on a generated world of moving shapes; the paper's values, for other data and another "
            "backbone, stand below for orientation and no difference is taken."
        )
    elif any(entry.difference is not None for row in table.rows for entry in row.entries):
        said.append(
            "Below each row the value the paper prints and our difference to it: inside or outside the 95 % prediction "
            "interval of our seeds (their deviation pooled over rows where these agree), open where one or two "
            "seeds say nothing; parameters: equal at all printed digits."
        )
        if table.planned.ties == "released":
            said.append("For the difference tied candidates are counted as the paper's code does.")
    shown = [entry.printed for row in table.rows for entry in row.entries if entry.printed]
    if any(printed.reconstructed for printed in shown):
        said.append(f"{text.LOST_MARK}: the text at hand has lost or damaged the printed number, see its row's note.")
    if any(printed.emphasised for printed in shown):
        said.append("Bold and underlined printed values are so in the paper.")
    if any(
        (entry.gain is not None and not row.planned.as_guessed) or (entry.printed and entry.printed.gain)
        for row in table.rows
        for entry in row.entries
    ):
        said.append("Arrows: the gain over the row that the paper compares with.")
    return said


def _speeds(table: MeasuredTable) -> list[str]:
    """How they were measured, on what, and which rows had a shorter way."""
    said = [
        "Pairs/s: of training, reading included; ms: one video's and one text's way through the trained model in the "
        "evaluation's batches, without reading, seconds of the clock on a GPU and of the processor on a CPU."
    ]
    devices: dict[str, dict[str, None]] = {}
    for row in table.rows:
        for result in row.used():
            devices.setdefault(provenance.device(result) or "unknown", {})[row.planned.name] = None
    if len(devices) > 1:
        first, *others = sorted(devices, key=lambda name: -len(devices[name]))
        each = [f"{name}: {', '.join(devices[name])}" for name in others]
        said.append(f"WARNING, speeds and memory of different devices: {first}, but {'; '.join(each)}.")
    cached = [
        row.planned.name
        for row in table.rows
        if any(result.cost.prefix_blocks or result.cost.texts_once for result in row.used())
    ]
    if cached:
        said.append(
            f"Trained and ranked from a cache of what a frozen tower or its first blocks give, so that pairs/s count "
            f"the rest alone: {', '.join(cached)}."
        )
    return said


def _uncertainty(table: MeasuredTable) -> list[str]:
    shown = "In brackets" if table.intervals else "In brackets, in HTML and CSV,"
    said = [
        f"{shown} 95 % by test queries (videos as units, the gallery fixed) and seeds together, of a single seed by "
        "queries alone; rows of a column that share a letter do not differ (same queries, Holm, 5 %)."
    ]
    if len(table.rows) > MANY:
        said.append(
            "Where that took more than ten letters, a letter is a run of rows, by value, whose ends do not differ: "
            "rows without a common letter differ, of those with one some may."
        )
    if table.noise is not None:
        said.append(f"R@1 of two rows closer than about {table.noise:.1f} points cannot be told apart here.")
    ends = [
        f"{text.dataset_title(dataset)} {backbone} {', '.join(f'{name} {value:.1f}' for name, value in both.items())}"
        for (dataset, backbone), both in sorted(table.ends.items())
    ]
    if ends:
        said.append(f"For comparison, T→V R@1: {'; '.join(ends)}.")
    return said


class Notes(NamedTuple):
    general: tuple[str, ...]  # of the table
    numbered: tuple[str, ...]  # of rows; what several share stands once
    marks: tuple[tuple[int, ...], ...]  # for each row the numbers of its own, from 1


def notes(table: MeasuredTable) -> Notes:
    """What a reader must know: of the table, and of its rows by numbers."""
    numbers: dict[str, int] = {}
    by_key = {row.planned.key: row for row in table.rows}
    marks = [
        tuple(
            numbers.setdefault(note, len(numbers) + 1)
            for note in dict.fromkeys([*_of_row(row), *_replaced(row, by_key.get(row.planned.as_guessed))])
        )
        for row in table.rows
    ]
    general = [table.planned.note] if table.planned.note else []
    if table.unread:
        more = f", and {len(table.unread) - 1} more rows" if len(table.unread) > 1 else ""
        general.append(f"No intervals: {table.unread[0]}{more}")
    return Notes(tuple(f"{sentence}." for sentence in general), tuple(numbers), tuple(marks))


def _of_row(row: MeasuredRow) -> Iterator[str]:
    """What its paper's folder says of it, why it is not run, failed, missing, doubtful or of another size."""
    if row.planned.note:
        yield f"{row.planned.note}."
    for reason, (evidence, datasets) in _not_run(row).items():
        if not evidence or reason.startswith(NOT_RUN):
            continue  # the row itself says so, the caption why
        mark = f"{text.REPORTED_MARK} " if reason == "reported only" else ""
        some = len(datasets) < len(row.planned.cells)
        where = f" on {', '.join(map(text.dataset_title, datasets))}" if some else ""
        yield f"{mark}{reason}{where}: {evidence}."
    for dataset, cell in row.planned.cells.items():
        if cell.copied and dataset in row.seeds:
            where = f" on {text.dataset_title(dataset)}" if len(row.planned.cells) > 1 else ""
            yield f"printed values{where} seem copied: {_evidence(cell)}."
    if any(cell.evaluate == "dsl" for cell in row.planned.cells.values()):
        yield "ranked with dual-softmax."
    for seeds in row.seeds.values():
        for seed in seeds:
            if seed.state in ("failed", "stale"):
                yield f"{seed.run} {seed.state}: {seed.reason}.".replace("..", ".")
        missing = [seed for seed in seeds if seed.state == "missing"]
        if missing and len(missing) < len(seeds):
            yield f"missing {', '.join(f'seed {s.seed} ({s.reason})' for s in missing)}."
    yield from _of_printed(row)


def _replaced(row: MeasuredRow, guessed: MeasuredRow | None) -> Iterator[str]:
    """`as guessed lr_new 0.001, tuned 0.0046`: what tuning put in place of what."""
    for dataset, spec in row.specs.items():
        before = guessed.specs.get(dataset) if guessed else None
        if before and not spec.undecided:
            values = before.values()
            each = [f"{key.partition('.')[2]} {values[key]}, tuned {value}" for key, value in spec.tuned.items()]
            where = f" on {text.dataset_title(dataset)}" if len(row.planned.cells) > 1 else ""
            edge = any(text.AT_EDGE in spec.sources[key].where for key in spec.tuned)
            yield f"{text.AS_GUESSED}{where} {'; '.join(each)}{f', {text.AT_EDGE}' if edge else ''}."


def _of_printed(row: MeasuredRow) -> Iterator[str]:
    """What is known of damaged or doubtful printed numbers, and of sizes that no count meets."""
    remarks: dict[str, list[str]] = {}
    for entry in row.entries:
        known = [entry.printed.remark] if entry.printed and entry.printed.digits and not entry.printed.gain else []
        known += [] if entry.check in ("agrees", "counted", "nothing is printed") else [entry.check]
        for remark in filter(None, known):
            remarks.setdefault(remark, []).append(text.column_title(entry.column))
    for remark, columns in remarks.items():
        yield f"{', '.join(columns)}: {remark}."


def _not_run(row: MeasuredRow) -> dict[str, tuple[str, list[str]]]:
    """Reason -> (evidence that the printed values are copied, data sets) of what is not run here."""
    reasons: dict[str, tuple[str, list[str]]] = {}
    for dataset, cell in row.planned.cells.items():
        if dataset not in row.seeds:
            reasons.setdefault(cell.unavailable or "not planned", (_evidence(cell), []))[1].append(dataset)
    return reasons


def _evidence(cell: Cell) -> str:
    return f"{cell.copied.evidence} ({cell.copied.certainty})" if cell.copied else ""
