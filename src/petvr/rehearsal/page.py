"""Go or no-go on one page: results/rehearsal/index.html, index.md and rehearsal.json, whose digest every result has."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from petvr import __version__, atomic
from petvr.rehearsal.parts import Answer, Part, verdict
from petvr.rehearsal.reference import COMPARED

QUESTIONS = {
    "weights": "Weights: are these OpenAI's towers?",
    "canary": "Canaries: zero-shot beside what is printed",
    "shapes": "Shapes: every model once",
    "node": "The cluster: one job of each kind",
    "room": "Disk and hours",
}


def write_page(folder: Path, parts: Sequence[Part], *, synthetic: bool, anyway: bool) -> dict[str, Any]:
    """The verdict: {"digest", "go", "refusals", ...}."""
    outcome = verdict(parts) | {"anyway": anyway, "petvr": __version__, "written": time.strftime("%Y-%m-%d %H:%M:%S")}
    atomic.write_text(folder / "index.md", _markdown(parts, outcome, synthetic))
    atomic.write_text(folder / "index.html", _html(parts, outcome, synthetic))
    atomic.write_json(folder / "rehearsal.json", outcome | {"parts": [asdict(part) for part in parts]})
    return outcome


def headline(outcome: dict[str, Any]) -> str:
    if outcome["go"]:
        return "Go: nothing speaks against it"
    count = len(outcome["refusals"])
    return f"No-go: {count} reason{'s' if count > 1 else ''}" + (", gone on anyway" if outcome["anyway"] else "")


def sections(parts: Sequence[Part]) -> list[tuple[str, list[Part]]]:
    """In the order in which they are asked, each kind of part together."""
    titled = [(title, [part for part in parts if kind_of(part) == kind]) for kind, title in QUESTIONS.items()]
    return [(title, those) for title, those in titled if those]


def kind_of(part: Part) -> str:
    return part.name.partition("-")[0]


def sung(part: Part) -> list[dict[str, str]]:
    """Lines of a canary: direction, and for each metric ours, the expected and the difference."""
    ours, expected = part.facts.get("metrics", {}), part.facts.get("reference", {})
    lines = []
    for way, arrow in (("t2v", "T→V"), ("v2t", "V→T")):
        if way in ours:
            line = {"way": arrow}
            for metric in COMPARED:
                line[metric] = f"{ours[way][metric]:.1f}"
                if (value := expected.get(way, {}).get(metric)) is not None:
                    line[metric] += f" ({value:.1f}, {ours[way][metric] - value:+.1f})"
            lines.append(line)
    return lines


def shown_facts(part: Part) -> list[tuple[str, str]]:
    """What another installation may compare, and no table of this page has."""
    hidden = {"metrics", "reference", "shades", "nearest", "tolerance", "packages"}
    return [(key, _text(value)) for key, value in part.facts.items() if key not in hidden]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_text(one)}" for key, one in value.items())
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _markdown(parts: Sequence[Part], outcome: dict[str, Any], synthetic: bool) -> str:
    lines = [f"# Dress rehearsal: {headline(outcome)}", ""]
    lines += [f"petvr {outcome['petvr']}, {outcome['written']}, digest {outcome['digest']}", ""]
    lines += ["A synthetic world: canaries are compared with values recorded for it.", ""] if synthetic else []
    for title, those in sections(parts):
        lines += [f"## {title}", "", "| | Question | Answer | |", "|:--|:--|:--|:--|"]
        for part in those:
            for one in part.findings:
                remedy = f"{one.says}. **What to do:** {one.remedy}" if one.remedy else one.says
                cells = [part.name, one.asked, f"**{one.answer}**", remedy]
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
        for part in those:
            if rows := sung(part):
                lines += [f"{part.name}: ours (expected, difference)", "", f"| | {' | '.join(COMPARED)} |"]
                lines += ["|:--" * (1 + len(COMPARED)) + "|"]
                lines += [f"| {row['way']} | {' | '.join(row[metric] for metric in COMPARED)} |" for row in rows] + [""]
            if facts := shown_facts(part):
                lines += [f"- {part.name}, {key}: {value}" for key, value in facts] + [""]
    return "\n".join(lines)


def _html(parts: Sequence[Part], outcome: dict[str, Any], synthetic: bool) -> str:
    import jinja2

    folders = [Path(__file__).parent, Path(__file__).parents[1] / "report" / "tables"]  # the tables' style
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("rehearsal.html.j2").render(
        sections=sections(parts), outcome=outcome, headline=headline(outcome), synthetic=synthetic, sung=sung,
        facts=shown_facts, metrics=COMPARED, no=Answer.NO,
        refused=[(part.name, finding) for part in parts for finding in part.refusals],
    )  # fmt: skip
