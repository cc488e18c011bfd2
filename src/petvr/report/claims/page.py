"""A paper's claims as Markdown and HTML: verdict, sizes, interval, a small plot, and the runs behind each."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from petvr import atomic
from petvr.papers import claims as stated
from petvr.report.claims.evidence import Judged
from petvr.report.claims.judge import ALPHA, ClaimVerdict
from petvr.retrieval.paired import holm

OWN = {
    "agree": "its tables agree",
    "contradict": "its own tables contradict it",
    "silent": "its tables do not show it",
}
CLEAR = (ClaimVerdict.REPRODUCED, ClaimVerdict.DIRECTION, ClaimVerdict.OPPOSITE)  # a difference from none
WIDTH, HEIGHT = 180, 26  # of a plot, pixels


@dataclass(frozen=True)
class PaperClaims:
    paper: str
    title: str
    judged: list[Judged]
    synthetic: bool

    @property
    def counts(self) -> dict[str, int]:
        seen = Counter(each.judgement.verdict for each in self.judged)
        return {verdict.value: seen[verdict] for verdict in ClaimVerdict if seen[verdict]}

    @functools.cached_property
    def adjusted(self) -> dict[str, float]:
        """Claim -> p after Holm over all of the paper's claims that a test stands behind."""
        tested = {each.claim.id: each.judgement.p for each in self.judged if each.judgement.p is not None}
        return dict(zip(tested, holm(list(tested.values())), strict=True))

    @property
    def contradicted(self) -> int:
        return sum(each.own_tables == "contradict" for each in self.judged)


def write_claims(page: PaperClaims, folder: Path) -> list[Path]:
    """`<paper>.md` and `<paper>.html` in `folder`."""
    paths = [folder / f"{page.paper}.md", folder / f"{page.paper}.html"]
    atomic.write_text(paths[0], _markdown(page))
    atomic.write_text(paths[1], _html(page))
    return paths


def summary(page: PaperClaims) -> str:
    """`38 claims: 12 reproduced, 20 within noise ...; 1 contradicted by the paper's own tables`"""
    parts = ", ".join(f"{number} {verdict}" for verdict, number in page.counts.items())
    clear = [each for each in page.judged if each.judgement.verdict in CLEAR and each.claim.id in page.adjusted]
    standing = sum(page.adjusted[each.claim.id] <= ALPHA for each in clear)
    holds = f"; of {len(clear)} clear differences {standing} hold after Holm" if clear else ""
    return f"{len(page.judged)} claims: {parts}; {page.contradicted} contradicted by the paper's own tables{holds}"


def shown_p(p: float | None) -> str:
    return "" if p is None else "<.001" if p < 0.001 else f"{p:.3f}"


def claimed(judged: Judged) -> str:
    """What the claim says: `+2.2 t2v R@1`, `x 0.004 parameters`."""
    claim = judged.claim
    if claim.kind in stated.COSTS:
        return f"{claim.kind} x {claim.size:g}" if claim.size is not None else f"{claim.kind} less"
    sizes = f"{claim.size:+.1f}" if claim.size is not None else "best" if claim.kind == "best" else "better"
    return f"{sizes} {claim.metric}"


def measured(judged: Judged) -> str:
    """Ours: `+1.4 [-0.2, +3.0]`, `x 0.0042`; empty where nothing was."""
    judgement = judged.judgement
    if judgement.ratio is not None:
        return f"x {judgement.ratio:.3g}"
    if judgement.difference is None:
        return ""
    difference = judgement.difference
    return f"{difference.value:+.1f} [{difference.low:+.1f}, {difference.high:+.1f}]"


def effect(judged: Judged) -> str:
    """Our effect over the claimed one with its interval."""
    ratio = judged.judgement.effect_ratio(judged.claim.size if judged.claim.kind in stated.SCORES else None)
    return "" if ratio is None else f"{ratio[0]:.2f} [{ratio[1]:.2f}, {ratio[2]:.2f}]"


def remarks(judged: Judged) -> list[str]:
    said = [OWN[judged.own_tables]]
    if judged.own_tables == "contradict" and judged.printed is not None:
        said[0] += f" ({judged.printed:+.1f})"
    return [text for text in (*said, judged.judgement.why, judged.claim.note, *judged.notes) if text]


def plot(judged: Judged) -> str:
    """An SVG: our difference with its interval, 0 as a line, the claimed size as a diamond."""
    difference = judged.judgement.difference
    if difference is None:
        return ""
    size = judged.claim.size if judged.claim.kind in stated.SCORES else None
    shown = [0.0, difference.low, difference.high, *([] if size is None else [size])]
    low, high = min(shown), max(shown)
    margin = 0.08 * (high - low) or 1.0

    def x(value: float) -> float:
        return round((value - low + margin) / (high - low + 2 * margin) * WIDTH, 1)

    middle = HEIGHT / 2
    mark = "" if size is None else (
        f'<path class="claimed" d="M{x(size)} {middle - 6} l5 6 l-5 6 l-5 -6 z"><title>claimed {size:+g}</title></path>'
    )  # fmt: skip
    size_of_box = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return (
        f'<svg {size_of_box} role="img" aria-label="{measured(judged)}">'
        f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="2" y2="{HEIGHT - 2}"/>'
        f'<line class="interval" x1="{x(difference.low)}" x2="{x(difference.high)}" y1="{middle}" y2="{middle}"/>'
        f'<circle class="ours" cx="{x(difference.value)}" cy="{middle}" r="4"/>{mark}</svg>'
    )


def _markdown(page: PaperClaims) -> str:
    lines = [f"# {page.title}: what it says, and what the runs say", "", summary(page) + ".", ""]
    if page.synthetic:
        lines += ["The runs are of the synthetic world: no verdict on the paper is possible from them.", ""]
    heads = ("Claim", "Where", "Claimed", "Ours, 95 %", "Effect ratio", "Verdict", "p, Holm", "Remarks")
    lines += [f"| {' | '.join(heads)} |", "|:--" * len(heads) + "|"]
    for judged in page.judged:
        claim = judged.claim
        cells = [f"“{claim.quote}” ({claim.dataset})", claim.where, claimed(judged), measured(judged), effect(judged)]
        adjusted = shown_p(page.adjusted.get(claim.id))
        cells += [f"**{judged.judgement.verdict}**", adjusted, "; ".join(remarks(judged))]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, "", *(f"{line}  " for line in NOTES), ""])


NOTES = (
    "Differences are positive where the claim is, also for ranks. Intervals: queries and seeds, the gallery fixed.",
    "Effect ratio: ours over the claimed size; 1 is the same, 0 none.",
    "Of several rivals the best one counts. With a hundred claims at 5 %, some verdicts are chance. Holm: p "
    "adjusted over all of the paper's claims that a test stands behind; up to 0.05 it holds for all of them together.",
)


def _html(page: PaperClaims) -> str:
    import jinja2

    templates = Path(__file__).parent
    loader = jinja2.FileSystemLoader([templates, templates.parent / "tables"])
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    rows = [
        {
            "judged": judged,
            "verdict": judged.judgement.verdict.value,
            "mark": judged.judgement.verdict.name.lower(),
            "claimed": claimed(judged),
            "measured": measured(judged),
            "effect": effect(judged),
            "remarks": remarks(judged),
            "plot": plot(judged),
            "p": shown_p(judged.judgement.p),
            "holm": shown_p(page.adjusted.get(judged.claim.id)),
        }
        for judged in page.judged
    ]
    return environment.get_template("claims.html.j2").render(page=page, rows=rows, summary=summary(page), notes=NOTES)
