"""The front page of a results folder and the page of its figures: what is there, and where it lies."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from petvr import atomic
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.papers.figures import FigureSpec
from petvr.text_files import read_json


def write_figure_index(figures: Mapping[str, FigureSpec], layout: Layout) -> Path:
    """`results/figures/index.html`: every figure that is drawn, its data, and the names of those that are not."""
    drawn = {id: spec for id, spec in figures.items() if (layout.figures / f"{id}.svg").is_file()}
    path = layout.figures / "index.html"
    atomic.write_text(path, _template("figures.html.j2").render(drawn=drawn, lacking=figures.keys() - drawn.keys()))
    return path


def write_front_page(
    papers: Mapping[str, str], tables: Collection[str], figures: Collection[str], layout: Layout
) -> Path:
    """`results/index.html`: per paper (name -> title) its tables, claims, figures and examples; the state of the data.

    Only what lies there is linked. `tables`, `figures`: their ids.
    """
    rows = [
        {
            "title": title,
            "tables": _present(
                layout,
                (
                    layout.table(file, "html")
                    for id in tables
                    if id.startswith(f"{name}/")
                    for file in (id, f"{id}.partial")
                ),
            ),
            "claims": _present(layout, [layout.claims / f"{name}.html"]),
            "figures": _present(layout, (layout.figures / f"{id}.svg" for id in figures if id.startswith(f"{name}/"))),
        }
        for name, title in papers.items()
    ]
    examples = sorted(layout.examples.rglob("index.html")) if layout.examples.is_dir() else []
    pages = _present(layout, [layout.tables / "index.html", layout.figures / "index.html"])
    page = _template("front.html.j2").render(
        rows=rows, examples=_present(layout, examples), pages=pages, data=_data_state(layout)
    )
    path = layout.results / "index.html"
    atomic.write_text(path, page)
    return path


def _present(layout: Layout, files: Iterable[Path]) -> list[dict[str, str]]:
    """Name and link of each file that is there."""
    shown = []
    for file in files:
        if file.is_file():
            path = file.relative_to(layout.results)
            name = path.parent.as_posix().partition("/")[2] if path.name == "index.html" else path.stem
            shown.append({"href": quote(path.as_posix()), "name": name or path.parts[0]})
    return shown


def _data_state(layout: Layout) -> list[dict[str, Any]]:
    """One line per data set and split, from the manifests."""
    lines = []
    for file in sorted((layout.results / "manifests").glob("*.json")):
        try:
            manifest = read_json(file, dict)
            splits = manifest["splits"].items()
            lines += [{"dataset": file.stem, "href": quote(f"manifests/{file.name}"), "split": split,
                       "videos": each["videos"], "official": each["official"], "digest": each["digest"]}
                      for split, each in splits]  # fmt: skip
        except (PetvrError, KeyError, TypeError, AttributeError):
            lines.append({"dataset": file.stem, "href": quote(f"manifests/{file.name}"), "split": "cannot be read"})
    return lines


def _template(name: str) -> Any:
    import jinja2

    folders = [Path(__file__).parent, Path(__file__).parents[1] / "tables"]  # the tables' style is everybody's
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(name)
