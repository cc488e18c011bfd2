"""The table of a user's own data set: methods of one's choice under one paper's recipe, with nothing printed."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from petvr.errors import PetvrError
from petvr.papers.cells import split_method
from petvr.papers.table import OWN, Cell, Column, Row, Table

METRICS = {"R@1": "high", "R@5": "high", "R@10": "high", "MdR": "low", "MnR": "low"}


def table(dataset: str, methods: Sequence[str], paper: str, title: str, backbone: str) -> Table:
    """`methods` as in ids: `full`, `lora@rank=4`, `vop_f+vop_p`. `paper` is the one whose recipe trains them.

    Raises PetvrError for a method that stands there twice.
    """
    rows = {}
    for written in methods:
        method, texts = split_method(
            written, f"custom_datasets.{dataset}.methods: '{written}' is not of the form method[@key=value,...]"
        )
        if written in rows:
            raise PetvrError(f"custom_datasets.{dataset}.methods: '{written}' stands there twice")
        setting = {key: yaml.safe_load(value) for key, value in texts.items()}
        cell = Cell(
            paper=paper,
            dataset=dataset,
            backbone=backbone,
            method=method,
            setting=setting,
            variant={},
            train=method != "zero_shot",
            evaluate="plain",
            quoted=None,
            reported_only=None,
        )
        rows[written] = Row(key=written, name=written, note="", group="", block="", cells={dataset: cell})
    columns = [Column(None, "none", "params_M", "")]
    columns += [Column(None, way, metric, better) for way in ("t2v", "v2t") for metric, better in METRICS.items()]
    heading = f"own videos, trained by the recipe of {title.partition(':')[0]}"
    return Table(OWN, dataset, heading, "", (dataset,), tuple(columns), tuple(rows.values()))
