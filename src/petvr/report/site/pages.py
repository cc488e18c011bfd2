"""The front page of a results folder and the page of its figures: what is there, and where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from petvr import atomic
from petvr.layout import Layout
from petvr.papers.figures import FigureSpec


def write_figure_index(figures: Mapping[str, FigureSpec], layout: Layout) -> Path:
    """`results/figures/index.html`: every figure that is drawn, its data, and the names of those that are not."""
    drawn = {id: spec for id, spec in figures.items() if (layout.figures / f"{id}.svg").is_file()}
    path = layout.figures / "index.html"
    atomic.write_text(path, _template("figures.html.j2").render(drawn=drawn, lacking=figures.keys() - drawn.keys()))
    return path


def _template(name: str) -> Any:
    import jinja2

    folders = [Path(__file__).parent, Path(__file__).parents[1] / "tables"]  # the tables' style is everybody's
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)
