"""The model card of a shared folder: README.md in the hub's form, with what the weights in it scored and on what."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from petvr.library.shared_folder import SharedModel
from petvr.result import Result
from petvr.retrieval.intervals import query_intervals
from petvr.retrieval.outcomes import RankFile

Kind = Literal["petvr", "merged", "peft"]  # how the folder is read
Way = Literal["t2v", "v2t"]
LIBRARIES: dict[Kind, tuple[str, str]] = {  # the hub's name of what reads it, and its relation to the base
    "petvr": ("petvr", "adapter"),
    "merged": ("transformers", "finetune"),
    "peft": ("peft", "adapter"),
}
TASKS: dict[Way, str] = {"t2v": "Text-to-video retrieval", "v2t": "Video-to-text retrieval"}
METRICS = {"R@1": "recall_at_1", "R@5": "recall_at_5", "R@10": "recall_at_10", "MdR": "median_rank", "MnR": "mean_rank"}
Intervals = dict[Way, dict[str, tuple[float, float]]]


def card_text(shared: SharedModel, result: Result, intervals: Intervals, kind: Kind, licence: str) -> str:
    """README.md: front matter that the hub validates, and what a reader has to know."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    spec, chosen = result.spec, result.at(result.spec.recipe.selection)
    environment = Environment(
        loader=PackageLoader("petvr.library", "."), undefined=StrictUndefined, trim_blocks=True, autoescape=False
    )
    guesses = [
        (key, spec.values().get(key), source.where or "no source says anything")
        for key, source in sorted(spec.sources.items())
        if source.origin == "guess"
    ]
    return environment.get_template("card.md.j2").render(
        front_matter=_front_matter(shared, result, intervals, kind, licence),
        kind=kind,
        licence=licence,
        spec=spec,
        recipe=spec.recipe,
        data=result.data,
        cost=result.cost,
        provenance=result.provenance,
        chosen=chosen,
        backbone=shared.backbone,
        base=_base(shared) or spec.backbone,
        needs_sentences=shared.spec.train and not shared.sentences and shared.looks_at_sentences,
        setting=", ".join(f"{key} = {value}" for key, value in spec.setting.items()) or "its defaults",
        guesses=guesses,
        metrics=list(METRICS),
        rows=[
            (name, [_cell(chosen.plain[way][metric], intervals.get(way, {}).get(metric)) for metric in METRICS])
            for way, name in TASKS.items()
        ],
    )


def _base(shared: SharedModel) -> str:
    """The hub id of the CLIP below; "" where it has none."""
    return (shared.backbone.hub_id if shared.backbone else shared.merged_into) or ""


def _cell(value: float, edges: tuple[float, float] | None) -> str:
    return f"{value:.1f}" + (f" ({edges[0]:.1f} to {edges[1]:.1f})" if edges else "")


def intervals_of(folder: Path, result: Result) -> Intervals:
    """95 % intervals over queries of the evaluation whose weights were kept; {} where its ranks are gone."""
    path, chosen = folder / "ranks.npz", result.selected[result.spec.recipe.selection]
    if not path.is_file():
        return {}
    result.check_file(folder, path.name)
    ranks = RankFile(path)
    clusters: dict[Way, np.ndarray] = {"t2v": ranks["owner"], "v2t": np.unique(ranks["owner"])}
    return {way: query_intervals(ranks.counts(chosen, "plain", way), clusters[way]) for way in TASKS}


def _front_matter(shared: SharedModel, result: Result, intervals: Intervals, kind: Kind, licence: str) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    spec, data = result.spec, result.data
    library, relation = LIBRARIES[kind]
    rows = []
    for way, name in TASKS.items():
        for metric, metric_type in METRICS.items():
            edges = intervals.get(way, {}).get(metric)
            facts: dict[str, Any] = {"seed": spec.seed, "dual_softmax": False}
            rows.append(
                EvalResult(
                    task_type=name.lower().replace(" ", "-"),
                    task_name=name,
                    dataset_type=spec.dataset,
                    dataset_name=f"{spec.dataset} ({data.world})",
                    dataset_split="test",
                    dataset_revision=data.digest,
                    metric_type=metric_type,
                    metric_name=metric,
                    metric_value=round(result.at(spec.recipe.selection).plain[way][metric], 2),
                    metric_args=facts | ({"queries_interval_95": [round(edge, 2) for edge in edges]} if edges else {}),
                )
            )
    tags = ["text-video-retrieval", "video-text-retrieval", "clip", "petvr", *spec.method.split("+")]
    card = ModelCardData(
        license=licence,
        library_name=library,
        tags=list(dict.fromkeys(tags)),
        pipeline_tag="feature-extraction",
        language="en",
        model_name=f"{spec.method} on {spec.dataset}",
        eval_results=rows,
    )
    if base := _base(shared):
        card["base_model"], card["base_model_relation"] = base, relation
    return card.to_yaml()
