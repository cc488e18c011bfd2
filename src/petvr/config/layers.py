"""config.yaml and what is laid over it, as they are written: read, keys of earlier versions renamed, merged."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from petvr.errors import PetvrError
from petvr.yaml_files import read_yaml_file, scalar

Layers = dict[str, dict[str, Any]]  # place -> the keys and values it holds

RENAMED = {  # key of an earlier version -> today's; still read
    "settings": "setting_overrides",
    "own": "custom_datasets",
    "chunk": "micro_batch",
    "prefix_gib": "feature_cache_gib",
}


def read_layers(
    files: Sequence[str | Path], more: Mapping[str, Any] | None = None, more_from: str = "--config"
) -> Layers:
    """File -> its keys and values under today's names, later ones win; last what Snakemake has from elsewhere.

    Says one line on stderr for each key of an earlier version. Raises PetvrError where one place has both names of it.
    """
    layers: Layers = {str(file): _read(Path(file)) for file in files}
    if more is not None:
        layers[more_from] = {key: _resolved(value) for key, value in more.items()}
    for place, layer in layers.items():
        for old in [key for key in RENAMED if key in layer]:
            if RENAMED[old] in layer:
                raise PetvrError(f"{place}: {old} and {RENAMED[old]} are one key, allowed: {RENAMED[old]} alone")
            print(f"petvr: {place}: the key {old} is now called {RENAMED[old]}", file=sys.stderr)
            layer[RENAMED[old]] = layer.pop(old)
    return layers


def merged_values(layers: Layers) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in layers.values():
        merged = _overlay(merged, layer)
    return merged


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        hint = "run petvr in the folder that holds it; petvr init FOLDER makes one"
        raise PetvrError(f"{path}: no such configuration file ({hint})")
    values = read_yaml_file(path)
    if not isinstance(values, dict):
        raise PetvrError(f"{path}: must hold keys and values, not {type(values).__name__}")
    return values


def _resolved(value: Any) -> Any:
    """Snakemake leaves every word inside a list or mapping of --config a text: `seeds=[0]` is ['0'] to it."""
    if isinstance(value, Mapping):
        return {key: _resolved(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_resolved(one) for one in value]
    return scalar(value) if isinstance(value, str) else value


def _overlay(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        merged[key] = _overlay(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def place_of(keys: list[str], layers: Layers) -> str:
    """The last layer that holds the key, or the most of the way to it."""
    ways = [keys[:length] for length in range(len(keys), 0, -1)]
    held = (name for way in ways for name, layer in reversed(layers.items()) if _holds(layer, way))
    return next(held, next(iter(layers)))


def _holds(layer: Any, keys: list[str]) -> bool:
    for key in keys:
        if isinstance(layer, dict) and key in (named := {str(name): value for name, value in layer.items()}):
            layer = named[key]
        elif isinstance(layer, list) and key.isdigit() and int(key) < len(layer):
            layer = layer[int(key)]
        else:
            return False
    return True
