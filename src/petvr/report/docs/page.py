"""docs/methods.md: one table of all methods with links, then a short section each, then the similarities."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import dedent

from petvr import methods, papers, similarity
from petvr.registry import DeclaredFile, Setting
from petvr.report.docs import facts, text

INTRO = """\
# Methods

Written by `petvr docs methods` from the code, the papers' tables and a count of the parameters; a test keeps it fresh.
Numbers are those of ViT-B/32 with 12 frames and 32 words unless said otherwise. Methods join with a plus sign
(`vop_f+vop_p`, `x_pool+vop`, `ssf+asa`). Settings are written as in the id of a run: `rap@k=5`. *Where it acts* names
the places of [`petvr.clip.insert`](../src/petvr/clip/insert.py); blocks are counted from 1. The figures the papers
print are compared row by row by `petvr params`; operations, activations and step times come from `petvr costs`.
[What each can see](probes.md) of order, counts and small things is measured by `petvr probes`.

What the papers leave open as a whole:
{open}.
"""
IDENTITY = {"exact": "CLIP's, to the bit", "near": "nearly CLIP's", "none": "already others than CLIP's"}
PROMPTS = {"ids", "embedded", "tokens_in", "block_in"}
ORIGINS = {
    "paper": "Paper",
    "main_paper": "VoP's main paper (unchecked: its supplement alone is at hand)",
    "code": "Released code",
    "count": "By count",
    "guess": "Guess",
}
KINDS = {
    "own": "What of CLIP itself trains",
    "prompts": "Prompts",
    "modules": "Modules in the blocks",
    "systems": "Together with a similarity of their own",
}


def methods_page() -> str:
    """The whole page."""
    left = ",\n".join(f"[{name}](../src/petvr/papers/{name}/open.md)" for name in papers.published())
    kinds: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name in methods.available():
        kinds[kind(name)].append(name)
    parts = [INTRO.format(open=left)]
    for each, names in kinds.items():
        parts.append(f"## {KINDS[each]}\n\n" + table(OVERVIEW, map(overview, names)))
    parts.append("## Similarities\n\n" + table(HEADS, map(head, similarity.available())))
    parts += [section(name) for names in kinds.values() for name in names]
    parts += [head_section(name) for name in similarity.available()]
    return "\n".join(parts)


def kind(name: str) -> str:
    traits = facts.method_facts(name)
    if methods.similarity_of(name):
        return "systems"
    if not traits.new:
        return "own"
    return "prompts" if {place for places, _, _ in traits.acts for place in places} <= PROMPTS else "modules"


def title(name: str) -> text.Docstring:
    return text.read_docstring(methods.REGISTRY.folder / f"{name}.py")


OVERVIEW = ("method", "what", "after", "trains", "where it acts", "tables")


def overview(name: str) -> tuple[str, ...]:
    said, traits = title(name), facts.method_facts(name)
    shown = sorted({paper for each in uses(name) for paper in each.tables})
    acts = "; ".join(f"{tower}: {', '.join(code(places))}" for tower, places in by_tower(traits).items())
    trains = million(traits.new + traits.head + traits.of_clip)
    cited, needed = said.citation, methods.similarity_of(name)
    if not cited and needed:
        cited = text.read_docstring(similarity.REGISTRY.folder / f"{needed}.py").citation
    return f"[`{name}`](#{name})", text.escape_markdown(said.title), cited, trains, acts, ", ".join(shown)


def by_tower(traits: facts.MethodFacts) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for places, tower, _ in traits.acts:
        named.setdefault(tower, []).extend(places)
    return named


HEADS = ("similarity", "what", "after", "trains", "reads", "scores rows of")


def head(name: str) -> tuple[str, ...]:
    said = text.read_docstring(similarity.REGISTRY.folder / f"{name}.py")
    count, needs = facts.head(name)
    reads = ", ".join(["frames", "sentences", *needs])
    link = f"[`{name}`](#similarity-{name})"
    return (
        link,
        text.escape_markdown(said.title),
        said.citation,
        million(count),
        reads,
        ", ".join(facts.tables_by_similarity()[name]),
    )


def head_section(name: str) -> str:
    said, (count, _) = text.read_docstring(similarity.REGISTRY.folder / f"{name}.py"), facts.head(name)
    lines = [f"## similarity {name}", "", text.escape_markdown(said.head), *formula(said), ""]
    lines.append(f"- **Trains** {count:,} numbers." if count else "- **Trains** nothing.")
    declared = similarity.declared(name)
    lines += ending("similarity", name, declared)
    scored = "; ".join(tables(facts.tables_by_similarity()[name]))
    lines.append(f"- **Scores** rows of {scored}." if scored else "- **Scores** no row of a table.")
    return "\n".join([*lines, *left(declared), ""])


def section(name: str) -> str:
    said, traits, declared = title(name), facts.method_facts(name), methods.declared(name)
    lines = [f"## {name}", "", text.escape_markdown(said.head), *formula(said), ""]
    lines.append(f"- **Trains** {'; '.join(trains(traits)) or 'nothing'}.")
    where = [
        f"{tower}: {', '.join(code(places))}{' in ' * bool(inside)}{inside}" for places, tower, inside in traits.acts
    ]
    lines.append(f"- **Acts** {'; '.join(where) or 'nowhere: nothing is inserted'}.")
    if traits.temporal:
        lines.append("- Its modules **read across frames** of a video.")
    if traits.needs_texts:
        lines.append("- Its vision tower **looks at candidate sentences**.")
    if declared.similarity:
        lines.append(f"- **Comes with** the [similarity](#similarity-{declared.similarity}) `{declared.similarity}`.")
    lines.append(f"- **Before training** features are {identity(declared.identity)}.")
    lines += ending("methods", name, declared)
    lines += in_rows(name)
    used = uses(name)
    if used:
        lines += ["", table(("in tables as", "trains", "printed", "verdict", "tables"), map(use, used)).rstrip()]
    return "\n".join([*lines, *left(declared), ""])


def formula(said: text.Docstring) -> list[str]:
    return ["", "```text", dedent(said.formula), "```"] if said.formula else []


def ending(package: str, name: str, declared: DeclaredFile) -> Iterable[str]:
    if declared.settings:
        yield "- **Settings**, and where their defaults come from:"
        for key, one in declared.settings.items():
            source = f"{ORIGINS[one.origin]}: {text.escape_markdown(one.where)}"
            yield f"  - `{key}={shown(one.default)}` ({allowed(one)}). {source}."
    if declared.sees_order:
        yield f"- **The order of frames** [reaches it](probes.md): {declared.sees_order}."
    yield f"- **File** [{name}.py](../src/petvr/{package}/{name}.py), version {declared.version}."


def in_rows(name: str) -> Iterable[str]:
    """Settings that the papers' rows name and the fields of their recipes that are this method's own."""
    values = facts.values_in_rows()[name]
    if values:
        yield "- **In the papers' rows**, beside each paper's [recipe](../src/petvr/papers):"
    together: dict[tuple[str, str, str], list[str]] = {}
    for paper, key, value, source in values:
        where = f"{ORIGINS[source.origin]}: {text.escape_markdown(source.where)}"
        together.setdefault((paper, key, where), []).append(value.lower() if value in ("True", "False") else value)
    for (paper, key, where), shown_values in together.items():
        yield f"  - {paper} `{key}={' | '.join(shown_values)}`. {where}."


def allowed(one: Setting) -> str:
    if isinstance(one.default, bool):
        return f"or {shown(not one.default)}"
    if one.choices:
        return "or " + ", ".join(str(each) for each in one.choices if each != one.default)
    return one.allowed({})


def shown(value: bool | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def left(declared: DeclaredFile) -> list[str]:
    """What the file declares to be open."""
    return ["", "Open:", "", *(f"- {text.escape_markdown(each)}" for each in declared.open)] if declared.open else []


def trains(traits: facts.MethodFacts) -> Iterable[str]:
    if traits.new:
        yield f"{traits.new:,} new numbers"
    if traits.head:
        yield f"{traits.head:,} of the similarity"
    if traits.of_clip:
        yield f"{traits.of_clip:,} of CLIP ({traits.clip_parts})"


def identity(declared: str | dict[str, str]) -> str:
    if isinstance(declared, str):
        return IDENTITY[declared]
    return "; ".join(f"in the {tower} tower {IDENTITY[kind]}" for tower, kind in declared.items())


def uses(name: str) -> list[facts.SettingInTables]:
    return [each for id, each in facts.settings_in_tables().items() if name in id.partition("@")[0].split("+")]


def use(each: facts.SettingInTables) -> tuple[str, ...]:
    """Figures that agree share one verdict; those that do not have theirs, grouped by the reason."""
    figures: dict[str, list[str]] = {}
    reasons: dict[str, list[str]] = {}
    for (backbone, figure), said in each.printed.items():
        where = "" if backbone == facts.BACKBONE else f" ({backbone})"
        figures.setdefault(where, []).append(figure)
        if said != "agrees":
            difference, _, reason = said.partition(": ")
            reasons.setdefault(reason, []).append(f"{figure}{where} {difference.partition(', printed')[0]}")
    verdict = "; ".join(", ".join(group) + (f": {reason}" if reason else "") for reason, group in reasons.items())
    verdict = verdict or ("agrees" if each.printed else "")
    printed = "; ".join(f"{', '.join(group)}{where}" for where, group in sorted(figures.items()))
    return (
        f"`{each.id}`",
        million(each.trainable),
        printed,
        text.escape_markdown(verdict),
        "; ".join(tables(each.tables)),
    )


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
