"""How the score on validation moves with each value that was tuned: one panel an axis, one line a rung."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from petvr.report.figures import style
from petvr.spec import Value

PARAMETERS = {"lr_new": "new parameters", "lr_clip": "CLIP's own parameters", "lr_head": "the similarity's parameters"}


def draw_sensitivity(
    path: Path, rows: Sequence[Mapping[str, Any]], stated: Mapping[str, tuple[Value, str] | None], title: str
) -> None:
    """rows: as petvr.tuning.trials_report.trial_rows gives them; stated: each of their columns that was tuned -> the
    value that the recipe has there and who says so, None where it leaves it to tuning.

    A point is a trial at the end of a rung, the line joins the best ones of each value; what is chosen has a ring.
    """
    axes = list(stated)
    with style.figure(1, len(axes), 4.2 * len(axes), 3.2) as (drawn, panels):
        drawn.suptitle(title, fontsize=9, x=0.01, ha="left")
        scored = [row for row in rows if row["score"] is not None]
        for panel, name in zip(panels[0], axes, strict=True):
            for rung in sorted({row["rung"] for row in scored}):
                points = sorted((row[name], row["score"]) for row in scored if row["rung"] == rung)
                best = {value: score for value, score in points}  # ascending: the best of each value stays
                look = {"color": style.colour(rung), "marker": style.marker(rung)}
                epoch = next(row["epoch"] for row in scored if row["rung"] == rung)
                panel.plot(list(best), list(best.values()), label=f"epoch {epoch}", **look)
                panel.scatter(*zip(*points, strict=True), s=12, **look)
            for row in scored:
                if row["chosen"]:
                    ring = {"markersize": 12, "fillstyle": "none", "color": style.SOFT, "linestyle": ""}
                    panel.plot(row[name], row["score"], "o", label=f"chosen: {row[name]}", **ring)
            if (said := stated[name]) is not None:
                value, origin = said
                label = f"the recipe's {origin}: {value}" if origin == "guess" else f"the recipe ({origin}): {value}"
                panel.axvline(value, color=style.SOFT, linestyle=(0, (4, 3)), linewidth=1, label=label)
            if name in PARAMETERS:
                style.logarithmic(panel)
            panel.set_xlabel(f"{name}: learning rate of {PARAMETERS[name]}" if name in PARAMETERS else name)
            panel.set_ylabel("RSum on validation,\nmean of both directions")
            panel.legend()
        style.save(drawn, path)
