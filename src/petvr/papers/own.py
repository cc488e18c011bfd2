"""The table of a user's own data set: methods of one's choice under one paper's recipe, with nothing printed."""

from __future__ import annotations

from collections.abc import Mapping

from petvr.papers.table import OWN, Cell, Row, Table
from petvr.spec import Value

COLUMNS = ("params_M", "t2v: R@1 R@5 R@10 MdR MnR", "v2t: R@1 R@5 R@10 MdR MnR")


def own_table(
    dataset: str, methods: Mapping[str, tuple[str, dict[str, Value]]], paper: str, title: str, backbone: str
) -> Table:
    """`methods`: name of the row, as in ids, -> method and its setting. `paper` is the one whose recipe trains them."""
    rows: dict[str, Row] = {}
    for written, (method, setting) in methods.items():
        cell = Cell(
            paper=paper,
            dataset=dataset,
            backbone=backbone,
            method=method,
            setting=setting,
            train=method != "zero_shot",
        )
        rows[written] = Row(name=written, cells={dataset: cell})
    return Table(
        paper=OWN,
        paper_title="Own data",
        name=dataset,
        title=f"own videos, trained by the recipe of {title.partition(':')[0]}",
        datasets=(dataset,),
        backbone=backbone,
        columns=COLUMNS,
        rows=tuple(rows.values()),
    )
