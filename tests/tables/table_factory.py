"""Results and small tables made by hand: what training would have left behind, without training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from petvr.costs.params import count_check
from petvr.layout import Layout
from petvr.papers import Cell, Printed, Row, Table
from petvr.papers.plan import Plan
from petvr.report.tables import MeasuredTable, measure_table
from petvr.result import Cost, Data, Evaluation, Provenance, Result, data_class
from petvr.retrieval.metrics import RankCounts
from petvr.spec import Recipe, RunSpec, Source

RECIPE = dict(
    optimizer="bert_adam", lr_clip=1e-7, lr_new=1e-4, lr_head=1e-4, weight_decay=0.2, no_decay="none",
    betas=(0.9, 0.98), eps=1e-6, warmup=0.1, schedule="warmup_cosine", clip_global=1.0, clip_tensor=None, epochs=2,
    batch=32, drop_last=True, precision="fp32", frames=12, words=32, sampler="c4c_1fps_int", captions="all_pairs",
    augment="none", data_order="by_seed", similarity="mean_pool", similarity_setting={}, logit_scale="train",
    logit_scale_max=100.0, evaluations_per_epoch=1, selection="best_on_test", select_by="t2v/R@1", dsl="none",
    dsl_temperature=1.0,
)  # fmt: skip


def spec(method: str = "vop", seed: int = 0, **changes) -> RunSpec:
    recipe = Recipe(**(RECIPE | changes.pop("recipe", {})))
    values = dict(
        paper="vop", dataset="msrvtt-7k", backbone="vit-b-32", method=method, setting={}, seed=seed, train=True,
        recipe=recipe, versions={f"methods/{method}": 1},
        sources={
            "recipe.lr_new": Source(origin="guess", where="the paper names no rate for <new> parts"),
            "recipe.batch": Source(origin="paper", where="section 4.1"),
        },
    )  # fmt: skip
    return RunSpec(**(values | changes))


def directions(r1: float) -> dict:
    def metrics(r1: float) -> dict[str, float]:
        recalls = {"R@1": min(r1, 100.0), "R@5": min(r1 + 20, 100.0), "R@10": min(r1 + 30, 100.0)}
        return recalls | {"RSum": min(3 * r1 + 50, 300.0), "MdR": 2.0, "MnR": max(50.0 - r1, 1.0)}

    return {"t2v": metrics(r1), "v2t": metrics(r1 - 1)}


def result(run: RunSpec, r1: float, *, last: float | None = None, data: dict | None = None, **changes) -> Result:
    """t2v R@1 is `r1` in epoch 1 (chosen by best_on_test) and `last` in epoch 2; v2t is one point below."""
    last = r1 - 0.5 if last is None else last
    evaluations = [
        Evaluation(epoch=0, step=0, train_loss=None, plain=directions(10.0)),
        Evaluation(epoch=1, step=10, train_loss=2.0, plain=directions(r1), dsl=directions(r1 + 2)),
        Evaluation(epoch=2, step=20, train_loss=1.5, plain=directions(last)),
    ]
    counts = dict(
        world="real", digest="d1e2f3", frames_digest="f0", train_videos=7010, train_videos_official=7010,
        test_videos=1000, test_videos_official=1000, test_captions=1000,
    )  # fmt: skip
    values = dict(
        id=run.id, spec=run, evaluations=evaluations, selected={"best_on_test": 1, "last": 2},
        cost=Cost(
            trainable=122_880, total=151_400_193, trainable_by_part={"clip": 0, "new": 122_880, "head": 0},
            flops_per_pair=3.1e11, peak_memory_bytes=None, train_seconds=61.5, eval_seconds=4.0, pairs_per_second=12.0,
        ),
        data=_data(counts | (data or {})),
        provenance=Provenance(
            petvr="0.1.0", git_revision="0123456789abcdef", git_dirty=False, packages={"torch": "2.13.0"},
            hardware={"device": "cpu"}, started="2026-01-05T10:00:00Z", finished="2026-01-05T10:02:00Z",
            spec_digest=run.digest(), weights_digest="w0",
        ),
    )  # fmt: skip
    return Result(**(values | changes))


def _data(values: dict) -> Data:
    test, train = ((values[f"{name}_videos"], values[f"{name}_videos_official"]) for name in ("test", "train"))
    return Data(**({"data_class": data_class(test, train)} | values))


def put(results: Path, method: str, r1s: list[float], *, data: dict | None = None, **changes) -> list[RunSpec]:
    """Write one result per value, seeds 0, 1, ..., with ranks of 1,000 queries; what a row asks for."""
    runs = planned(method, len(r1s), **changes)
    for run, r1 in zip(runs, r1s, strict=True):
        result(run, r1, data=data).write(Layout(results).result(run))
        arrays = {}
        for entry, value in ((0, 10.0), (1, r1), (2, r1 - 0.5)):
            for form, more in (("plain", 0.0), ("dsl", 2.0)):
                for way, less in (("t2v", 0.0), ("v2t", 1.0)):
                    hits = np.arange(1000) < round(10 * (value + more - less))
                    counts = RankCounts(np.where(hits, 0, 30), np.zeros(1000, np.int64))
                    arrays[f"{entry}/{form}/{way}"] = counts.to_array()
        names = np.array([f"v{n}" for n in range(1000)])
        np.savez(Layout(results).run(run) / "ranks.npz", videos=names, owner=np.arange(1000), **arrays)
    return runs


def planned(method: str, seeds: int, **changes) -> list[RunSpec]:
    return [spec(method, seed, **changes) for seed in range(seeds)]


RUNS: dict[str, RunSpec] = {}  # what the rows made here ask for: the runs of the plan their table stands in


def cell(runs: list[RunSpec] | None = None, dataset: str = "msrvtt-7k", **changes) -> Cell:
    """A cell with these runs, or without any for the reason `unavailable`."""
    RUNS.update((run.id, run) for run in runs or [])
    ids = tuple(run.id for run in runs or [])
    return Cell(paper="vop", dataset=dataset, backbone="vit-b-32", method="vop", runs=ids, **changes)


def row(name: str, runs: list[RunSpec], dataset: str = "msrvtt-7k", evaluate: str = "plain", **changes) -> Row:
    return Row(name=name, cells={dataset: cell(runs, dataset, evaluate=evaluate)}, **changes)


COLUMNS = ("params_M", "t2v: R@1 MnR", "v2t: R@1")


def table(rows: list[Row], printed: dict | None = None, columns=COLUMNS, **changes) -> Table:
    """`printed`: (index of the row, key of the column) -> digits, or a Printed."""
    values = {}
    for (index, key), value in (printed or {}).items():
        direction, _, metric = key.rpartition(":")
        place = (rows[index].key, rows[index].dataset, direction or "none", metric)
        values[place] = value if isinstance(value, Printed) else Printed(float(value), None, value)
    return Table(
        paper="vop", paper_title="VoP", name="table_3", title="All methods", datasets=("msrvtt-7k",),
        backbone="vit-b-32", columns=columns, rows=tuple(rows), printed=values, **changes,
    )  # fmt: skip


def count(table: Table, cell: Cell, recipe: Recipe, metric: str, printed: str) -> tuple[float, str]:
    """0.12288 M, or 0.1 % of what the paper takes as whole."""
    number = {"params_M": 0.12288, "params_percent": 0.1025, "trains_M": 0.13, "forward_gmacs": 54.2}[metric]
    return number, count_check(number, printed) if printed and metric.startswith("params") else "counted"


def measure(table: Table, results: Path, **options) -> MeasuredTable:
    """The numbers of a table made by hand."""
    options = {"count": count} | options
    return measure_table(Plan({}, RUNS, {table.id: table}, {}), table.id, results, **options)
