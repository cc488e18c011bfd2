"""results/index.html and results/figures/index.html link what is there, and nothing else."""

import json
import re

import pytest
from chromium_pipe import Page

from petvr import papers
from petvr.layout import Layout
from petvr.papers.figures import table_figures
from petvr.report.site import write_figure_index, write_front_page


def links(path):
    return set(re.findall(r'(?:href|src)="([^"#]+)"', path.read_text(encoding="utf-8")))


def test_the_front_page_links_what_is_there(tmp_path):
    layout = Layout(tmp_path)
    there = [
        layout.table("rap/table_4", "html"),
        layout.table("vop/table_3.partial", "html"),
        layout.claims / "rap.html",
        layout.figures / "rap" / "figure_2.svg",
        layout.examples / "rap" / "index.html",
        layout.examples / "a@b=1,c" / "index.html",
        layout.tables / "index.html",
        layout.manifest("msvd"),
        layout.runs / "x",
    ]
    for path in there:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    split = {"videos": 3, "official": 4, "digest": "d1"}
    layout.manifest("lsmdc").write_text(json.dumps({"splits": {"test": split}}))
    page = write_front_page({"rap": "RAP", "vop": "VoP"}, ["rap/table_4", "vop/table_3"], ["rap/figure_2"], layout)
    assert links(page) == {
        *(
            "tables/rap/table_4.html",
            "tables/vop/table_3.partial.html",
            "claims/rap.html",
            "figures/rap/figure_2.svg",
            "tables/index.html",
        ),
        *("examples/rap/index.html", "examples/a%40b%3D1%2Cc/index.html"),
        *("manifests/lsmdc.json", "manifests/msvd.json", "runs/"),
    }
    text = page.read_text(encoding="utf-8")
    assert "<td>3</td><td>4</td>" in text and "cannot be read" in text


@pytest.mark.slow  # a browser
def test_on_a_telephone_nothing_of_the_front_page_lies_behind_a_scroll(tmp_path):
    layout = Layout(tmp_path / "results")
    tables = [f"rap/table_{number}" for number in range(1, 9)]
    drawn = [f"{table}.{kind}" for table in tables for kind in ("scatter", "curves", "costs")]
    for path in [*(layout.table(table, "html") for table in tables), *(layout.figures / f"{id}.svg" for id in drawn)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("<svg/>")
    path = write_front_page({"rap": "RAP: a title of some length"}, tables, drawn, layout)
    page = Page(tmp_path / "profile")
    try:
        page.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
        page.open(path.as_uri())
        assert page.value("[...document.querySelectorAll('.papers a')].length") == len(tables) + len(drawn)
        assert page.value("document.documentElement.scrollWidth") <= 390
        right = "Math.max(...[...document.querySelectorAll('.papers a')].map((a) => a.getBoundingClientRect().right))"
        assert page.value(right) <= 390
    finally:
        page.close()


def test_the_page_of_figures_names_those_that_are_not_drawn(tmp_path):
    layout = Layout(tmp_path)
    known = {f"rap/{name}": spec for name, spec in table_figures(papers.load_paper("rap").tables["table_4"]).items()}
    drawn = layout.figures / "rap" / "table_4.scatter.svg"
    drawn.parent.mkdir(parents=True)
    drawn.write_text("<svg/>")
    page = write_figure_index(known, layout)
    assert {"rap/table_4.scatter.svg", "rap/table_4.scatter.png", "rap/table_4.scatter.csv"} <= links(page)
    assert "Not drawn: rap/table_4.curves." in page.read_text(encoding="utf-8")
