"""What exists, as the papers' tables ask for it, and what a method leaves at its default."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from petvr.papers import load_paper
from petvr.papers.table import Cell
from petvr.registry import Setting
from petvr.spec import Recipe, RunSpec, Source, Value


@dataclass(frozen=True)
class Implemented:
    """What exists, as the caller sees it; None means that everything counts as implemented."""

    methods: Collection[str] | None = None
    similarities: Collection[str] | None = None
    datasets: Collection[str] | None = None
    method_version: Callable[[str], int] = lambda name: 1
    similarity_version: Callable[[str], int] = lambda name: 1
    similarity_of: Callable[[str], str | None] = lambda method: None  # what a method or composition cannot do without
    method_settings: Callable[[str], Mapping[str, Setting]] = lambda name: {}
    similarity_settings: Callable[[str], Mapping[str, Setting]] = lambda name: {}
    # raises PetvrError where method, setting, recipe, backbone and data set cannot go together
    check: Callable[[str, Mapping[str, Any], Recipe, str, str], None] = lambda *run: None
    tuned: Callable[[RunSpec], RunSpec] = lambda run: run  # with the values that tuning chose
    # the variant of a run whose guessed rates are tuned; None: it has none, or nobody asked for it
    guesses_tuned: Callable[[RunSpec], RunSpec | None] = lambda run: None
    parts: Mapping[str, int] = field(default_factory=dict)  # e.g. {"training": 2}: versions every run depends on
    # data set -> option -> (chosen value, who chose it)
    options: Mapping[str, Mapping[str, tuple[str, Source]]] = field(default_factory=dict)

    def unavailable(self, dataset: str, method: str, similarity: str) -> str:
        """Why a cell cannot run: "not implemented: vop_f", "no data set: lsmdc", or "" if it can."""
        absent = [name for name in method.split("+") if self.methods is not None and name not in self.methods]
        if self.similarities is not None and similarity not in self.similarities and similarity not in absent:
            absent.append(similarity)
        if absent:
            return f"not implemented: {', '.join(absent)}"
        if self.datasets is not None and dataset not in self.datasets:
            return f"no data set: {dataset}"
        return ""

    def needed_similarity(self, method: str) -> str | None:
        exists = self.methods is None or all(name in self.methods for name in method.split("+"))
        return self.similarity_of(method) if exists else None

    def unnamed(self, method: str, setting: Mapping[str, Any], recipe: Recipe) -> Iterator[tuple[str, str, Setting]]:
        """(key as in RunSpec.defaults, the method's key or "", declaration) of every setting left at its default."""
        parts = method.split("+")
        for part in parts:
            for key, declared in self.method_settings(part).items():
                if not {key, f"{part}.{key}"} & setting.keys():
                    yield f"setting.{part}.{key}" if len(parts) > 1 else f"setting.{key}", f"{part}.{key}", declared
        for key, declared in self.similarity_settings(recipe.similarity).items():
            if key not in recipe.similarity_setting:
                yield f"similarity.{key}", "", declared

    def typed(self, method: str, setting: Mapping[str, Any]) -> dict[str, Any]:
        """A whole number is 2.0 where the default has a point, however a row writes it: a run has one id."""
        known = [part for part in method.split("+") if self.methods is None or part in self.methods]
        declared = [(key, one.default) for part in known for key, one in self.method_settings(part).items()]
        floats = {key for key, default in declared if isinstance(default, float)}
        return {
            key: float(value) if type(value) is int and key.rpartition(".")[2] in floats else value
            for key, value in setting.items()
        }

    def versions(self, method: str, similarity: str) -> dict[str, int]:
        versions = {f"methods/{name}": self.method_version(name) for name in method.split("+")}
        return versions | {f"similarity/{similarity}": self.similarity_version(similarity)} | dict(self.parts)

    def run_of(
        self, cell: Cell, seed: int, recipe: Recipe, sources: Mapping[str, Source], *, exists: bool = True
    ) -> RunSpec:
        """The run of a cell that names a method; of what does not exist without defaults and versions."""
        assert cell.method is not None
        options = self.options.get(cell.dataset, {})
        chosen_by = {f"options.{key}": source for key, (_, source) in options.items()}
        defaults: dict[str, Value] = {}
        for key, own_key, declared in self.unnamed(cell.method, cell.setting, recipe) if exists else iter(()):
            defaults[key] = declared.default
            of_paper = load_paper(cell.paper).setting_source(cell.method, own_key) if own_key else None
            chosen_by[key] = of_paper or Source(origin=declared.origin, where=declared.where)
        return RunSpec(
            paper=cell.paper,
            dataset=cell.dataset,
            backbone=cell.backbone,
            method=cell.method,
            setting=cell.setting,
            defaults=defaults,
            variant=cell.variant,
            seed=seed,
            train=cell.train,
            recipe=recipe,
            options={key: value for key, (value, _) in options.items()},
            sources={**sources, **chosen_by},
            versions=self.versions(cell.method, recipe.similarity) if exists else {},
        )
