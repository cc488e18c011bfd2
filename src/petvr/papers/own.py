"""The table of a user's own data set: methods of one's choice under one paper's recipe, with nothing printed."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from petvr.errors import PetvrError
from petvr.papers.cells import split_method
from petvr.papers.table import OWN, Cell, Row, Table

COLUMNS = ("params_M", "t2v: R@1 R@5 R@10 MdR MnR", "v2t: R@1 R@5 R@10 MdR MnR")


def own_table(dataset: str, methods: Sequence[str], paper: str, title: str, backbone: str) -> Table:
    """`methods` as in ids: `full`, `lora@rank=4`, `vop_f+vop_p`. `paper` is the one whose recipe trains them.

    Raises PetvrError for a method that stands there twice.
    """
    rows: dict[str, Row] = {}
    for written in methods:
        method, texts = split_method(
            written, f"custom_datasets.{dataset}.methods: '{written}' is not of the form method[@key=value,...]"
        )
        if written in rows:
            raise PetvrError(f"custom_datasets.{dataset}.methods: '{written}' stands there twice")
        cell = Cell(
            paper=paper,
            dataset=dataset,
            backbone=backbone,
            method=method,
            setting={key: yaml.safe_load(value) for key, value in texts.items()},
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
