"""docs/probes.md: what every method can see, from the numbers that `petvr probes` has written."""

from __future__ import annotations

from petvr import probes
from petvr.errors import PetvrError
from petvr.report.docs import page

INTRO = """\
# What can a method see?

Written by `petvr docs probes` from what `petvr probes` measured; a test keeps it fresh. That a module computes what its
formula says does not show that time, order or a small thing reach the loss. So a small CLIP (two blocks of width 32,
trained on still pictures) is put under each method, and trained once, for {steps} steps of the project's own training
step, on pairs of clips of six frames. One thing tells the two clips of a pair apart:

{probes}

In the last three both clips are the same frames in another order, to the bit: who averages single frames cannot tell
them apart. After training each of {pairs} new pairs is one decision: which of the two captions belongs to which of the
two clips. Cells are the percentage of right ones with Wilson's 95 % interval; differences at the level of rounding
count half. What is expected follows from what each method's file declares (`SEES_ORDER`): *chance*, an interval within
{low:.0f} to {high:.0f} %, or *above*, an interval above 50 %.

The first three a CLIP of stills knows already (`zero_shot`); there a fall would show that a method hides something.
Counts can in part be guessed from which frames show the shape, so knowing each frame's place is of use there too.

`·` chance, `░` to 65 %, `▒` to 80 %, `▓` to 95 %, `█` more; **!** not as expected, explained below the tables. The
numbers say what can be learnt here in {steps} steps at one rate, not which method is better. Settings are the
defaults but where a CLIP this small needs or allows less:
{settings}.
"""
HEAD = ("method", *probes.PROBES, "how order reaches it")


def probes_page() -> str:
    """The whole page. PetvrError names what has to be measured first."""
    from petvr.probes import measure

    results, models = probes.fresh_results(probes.MEASURED), probes.models()
    if missing := [name for name in models if name not in results]:
        raise PetvrError(f"not measured with today's versions: petvr probes --methods {','.join(missing)}")
    settings = "; ".join(
        f"`{name}`: {', '.join(f'{key}={value}' for key, value in values.items())}"
        for name, values in measure.SETTINGS.items()
    )
    intro = INTRO.format(
        steps=probes.STEPS, pairs=probes.PAIRS, low=probes.CHANCE[0], high=probes.CHANCE[1], settings=settings,
        probes="\n".join(f"- **{name}**: {text}" for name, text in probes.PROBES.items()),
    )  # fmt: skip
    parts = [intro]
    for title, ordered in (("Order reaches these", True), ("Single frames, averaged or weighed: order cannot", False)):
        chosen = [model for model in models.values() if bool(model.order) is ordered]
        rows = ((_name(model), *(cell(model, probe, results[model.name][probe]) for probe in probes.PROBES),
                 model.order) for model in chosen)  # fmt: skip
        head = HEAD if ordered else HEAD[:-1]
        parts.append(f"## {title}\n\n" + page.table(head, (row[: len(head)] for row in rows)))
    unexpected = [
        f"- `{model.name}`, {probe}: {probes.REASONS.get((model.name, probe), 'not explained yet')}"
        for model in models.values()
        for probe in probes.PROBES
        if not model.agrees(probe, results[model.name][probe])
    ]
    parts.append("## Not as expected\n\n" + "\n".join(unexpected or ["Nothing."]) + "\n")
    return "\n".join(parts)


def _name(model: probes.ProbedModel) -> str:
    if model.name == model.method:
        return f"[`{model.name}`](methods.md#{model.name})"
    return f"[`{model.name}`](methods.md#similarity-{model.name}) on `{model.method}`"


def cell(model: probes.ProbedModel, probe: str, percent: float) -> str:
    low, high = probes.interval(percent)
    seen = probes.outcome(percent)
    mark = "·" if seen == "chance" else "░▒▓█"[(percent > 65) + (percent > 80) + (percent > 95)]
    return f"{mark} {percent:.0f} ({low:.0f} to {high:.0f})" + " **!**" * (not model.agrees(probe, percent))
