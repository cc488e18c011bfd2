"""docs/methods.md: one table of all methods with links, then a short section each, then the similarities."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import dedent

from petvr import methods, papers, similarity
from petvr.report.docs import facts, text

INTRO = """\
# Methods

Written by `petvr docs methods` from the code, the papers' tables and a count of the parameters; a test keeps it fresh.
Numbers are those of ViT-B/32 with 12 frames and 32 words unless said otherwise. Methods join with a plus sign
(`vop_f+vop_p`, `x_pool+vop`, `ssf+asa`). Settings are written as in the id of a run: `rap@k=5`. *Where it acts* names
the places of [`petvr.clip.insert`](../src/petvr/clip/insert.py); blocks are counted from 1. The figures the papers
print are compared row by row by `petvr params`; operations, activations and step times come from `petvr costs`.

What the papers leave open as a whole:
{open}.
"""
IDENTITY = {"exact": "CLIP's, to the bit", "near": "nearly CLIP's", "none": "already others than CLIP's"}
PROMPTS = {"ids", "embedded", "tokens_in", "block_in"}
KINDS = {
    "own": "What of CLIP itself trains",
    "prompts": "Prompts",
    "modules": "Modules in the blocks",
    "systems": "Together with a similarity of their own",
}


def methods_page() -> str:
    """The whole page."""
    left = ",\n".join(f"[{name}](../src/petvr/papers/{name}/open.md)" for name in papers.readable())
    kinds: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name in methods.NAMES():
        kinds[kind(name)].append(name)
    parts = [INTRO.format(open=left)]
    for each, names in kinds.items():
        parts.append(f"## {KINDS[each]}\n\n" + table(OVERVIEW, map(overview, names)))
    parts.append("## Similarities\n\n" + table(HEADS, map(head, similarity.NAMES())))
    parts += [section(name) for names in kinds.values() for name in names]
    parts += [head_section(name) for name in similarity.NAMES()]
    return "\n".join(parts)


def kind(name: str) -> str:
    found = facts.made(name)
    if methods.similarity(name):
        return "systems"
    if not found.new:
        return "own"
    return "prompts" if {place for places, _, _ in found.acts for place in places} <= PROMPTS else "modules"


def title(name: str) -> text.Text:
    return text.read(methods.HERE / f"{name}.py")


OVERVIEW = ("method", "what", "after", "trains", "where it acts", "tables")


def overview(name: str) -> tuple[str, ...]:
    said, found = title(name), facts.made(name)
    shown = sorted({paper for each in uses(name) for paper in each.tables})
    acts = "; ".join(f"{tower}: {', '.join(code(places))}" for tower, places in by_tower(found).items())
    trains = million(found.new + found.head + found.of_clip)
    cited = said.citation or text.read(similarity.HERE / f"{methods.similarity(name)}.py").citation
    return f"[`{name}`](#{name})", text.plain(said.title), cited, trains, acts, ", ".join(shown)


def by_tower(found: facts.Made) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for places, tower, _ in found.acts:
        named.setdefault(tower, []).extend(places)
    return named


HEADS = ("similarity", "what", "after", "trains", "reads", "scores rows of")


def head(name: str) -> tuple[str, ...]:
    said = text.read(similarity.HERE / f"{name}.py")
    count, needs = facts.head(name)
    reads = ", ".join(["frames", "sentences", *needs])
    link = f"[`{name}`](#similarity-{name})"
    return link, text.plain(said.title), said.citation, million(count), reads, ", ".join(facts.scored()[name])


def head_section(name: str) -> str:
    said, constants, (count, _) = (
        text.read(similarity.HERE / f"{name}.py"),
        similarity.constants(name),
        facts.head(name),
    )
    lines = [f"## similarity {name}", "", text.plain(said.head), *formula(said), ""]
    lines.append(f"- **Trains** {count:,} numbers." if count else "- **Trains** nothing.")
    lines += ending("similarity", name, constants | {"CHOICES": {}})
    lines.append(f"- **Scores** rows of {'; '.join(tables(facts.scored()[name]))}.")
    return "\n".join([*lines, *left(said), ""])


def section(name: str) -> str:
    said, found, constants = title(name), facts.made(name), methods.constants(name)
    lines = [f"## {name}", "", text.plain(said.head), *formula(said), ""]
    lines.append(f"- **Trains** {'; '.join(trains(found)) or 'nothing'}.")
    where = [
        f"{tower}: {', '.join(code(places))}{' in ' * bool(inside)}{inside}" for places, tower, inside in found.acts
    ]
    lines.append(f"- **Acts** {'; '.join(where) or 'nowhere: nothing is inserted'}.")
    if found.temporal:
        lines.append("- Its modules **read across frames** of a video.")
    if found.pool:
        lines.append("- Its vision tower **looks at candidate sentences**.")
    if constants["SIMILARITY"]:
        lines.append(f"- **Comes with** the [similarity](#similarity-{name}) `{constants['SIMILARITY']}`.")
    lines.append(f"- **Before training** features are {identity(constants['IDENTITY'])}.")
    lines += ending("methods", name, constants)
    used = uses(name)
    if used:
        lines += ["", table(("in tables as", "trains", "printed", "verdict", "tables"), map(use, used)).rstrip()]
    return "\n".join([*lines, *left(said), ""])


def formula(said: text.Text) -> list[str]:
    return ["", "```text", dedent(said.formula), "```"] if said.formula else []


def ending(package: str, name: str, constants: dict) -> Iterable[str]:
    if constants["DEFAULTS"]:
        yield f"- **Settings** {' · '.join(settings(constants))}."
    yield f"- **File** [{name}.py](../src/petvr/{package}/{name}.py), version {constants['VERSION']}."


def left(said: text.Text) -> list[str]:
    """What the file itself says is open, then what the papers' own lists say of it."""
    found = [text.plain(each) for each in said.open]
    for name, paper in papers.readable().items():
        found += [f"{text.plain(each)} ({name})" for each in text.mentions(said.title, paper.open_questions)]
    return ["", "Open:", "", *(f"- {each}" for each in found)] if found else []


def trains(found: facts.Made) -> Iterable[str]:
    if found.new:
        yield f"{found.new:,} new numbers"
    if found.head:
        yield f"{found.head:,} of the similarity"
    if found.of_clip:
        yield f"{found.of_clip:,} of CLIP ({found.clip_parts})"


def identity(declared: str | dict[str, str]) -> str:
    if isinstance(declared, str):
        return IDENTITY[declared]
    return "; ".join(f"in the {tower} tower {IDENTITY[kind]}" for tower, kind in declared.items())


def settings(constants: dict) -> Iterable[str]:
    for key, value in constants["DEFAULTS"].items():
        shown = str(value).lower() if isinstance(value, bool) else value
        others = [str(each) for each in constants["CHOICES"].get(key, []) if each != value]
        yield f"`{key}={shown}`" + (f" (or {', '.join(others)})" if others else "")


def uses(name: str) -> list[facts.Shown]:
    return [each for id, each in facts.shown().items() if name in id.partition("@")[0].split("+")]


def use(each: facts.Shown) -> tuple[str, ...]:
    """Figures that agree share one verdict; those that do not have theirs, grouped by the reason."""
    figures: dict[str, list[str]] = {}
    reasons: dict[str, list[str]] = {}
    for (backbone, figure), said in each.printed.items():
        where = "" if backbone == facts.BACKBONE else f" ({backbone})"
        figures.setdefault(where, []).append(figure)
        if said != "agrees":
            found, _, reason = said.partition(": ")
            reasons.setdefault(reason, []).append(f"{figure}{where} {found.partition(', printed')[0]}")
    verdict = "; ".join(", ".join(found) + (f": {reason}" if reason else "") for reason, found in reasons.items())
    verdict = verdict or ("agrees" if each.printed else "")
    printed = "; ".join(f"{', '.join(found)}{where}" for where, found in sorted(figures.items()))
    return f"`{each.id}`", million(each.trainable), printed, text.plain(verdict), "; ".join(tables(each.tables))


def tables(by_paper: dict[str, list[str]]) -> Iterable[str]:
    for paper, names in by_paper.items():
        yield f"{paper} {', '.join(name.removeprefix('table_') for name in names)}"


def million(count: int) -> str:
    return f"{count / 1e6:.3f} M" if count >= 1000 else str(count)


def code(names: Iterable[str]) -> list[str]:
    return [f"`{name}`" for name in names]


def table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
