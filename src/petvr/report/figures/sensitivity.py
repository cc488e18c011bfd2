"""How the score on validation moves with each value that was tuned: one panel an axis, one line a rung."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from petvr.report.figures import style


def draw_sensitivity(path: Path, rows: Sequence[Mapping[str, Any]], axes: Sequence[str], title: str) -> None:
    """rows: as petvr.tuning.trials_report.trial_rows gives them; axes: their columns that were tuned.

    A point is a trial at the end of a rung, the line joins the best ones of each value; what is chosen has a ring.
    """
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
                    panel.plot(row[name], row["score"], "o", markersize=12, fillstyle="none", color=style.SOFT)
            if name.startswith("lr_"):
                style.logarithmic(panel)
            panel.set_xlabel(name)
            panel.set_ylabel("RSum on validation")
            panel.legend()
        style.save(drawn, path)
