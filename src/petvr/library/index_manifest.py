"""index.json: which model an index was made by, and the folders of its parts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from petvr import atomic
from petvr.errors import PetvrError
from petvr.text_files import read_json, typed

FORMAT = 1
MANIFEST = "index.json"


@dataclass(frozen=True)
class ModelFacts:
    """The model an index was made by: source is a run's folder, a shared folder or a hub id."""

    name: str
    source: str
    digest: str


@dataclass(frozen=True)
class Manifest:
    """index.json beside its `format`."""

    model: ModelFacts
    parts: list[str]


def read_manifest(folder: Path) -> Manifest:
    """Raises PetvrError for what is no index, damaged, of another format, or names a part elsewhere."""
    path = folder / MANIFEST
    if not path.is_file():
        raise PetvrError(f"{folder}: no {MANIFEST} in it, so it is no index of videos")
    values = read_json(path, dict)
    if values.get("format") != FORMAT:
        raise PetvrError(f"{path}: format: {values.get('format')!r:.40} given, this petvr reads {FORMAT}")
    manifest = typed(Manifest, atomic.unsealed(values, path), path)
    if any(not name or name.startswith("/") or ".." in Path(name).parts for name in manifest.parts):
        raise PetvrError(f"{path}: parts: only folders below it are allowed")
    return manifest


def join_shards(folder: Path, shards: Sequence[Path]) -> None:
    """Write the index of finished shards that lie below `folder`; those of another cut go. Nothing is copied."""
    facts, parts = [], []
    for shard in shards:
        manifest = read_manifest(shard)
        facts.append(manifest.model)
        parts += [f"{shard.relative_to(folder)}/{name}" for name in manifest.parts]
    if any(one.digest != facts[0].digest for one in facts):
        raise PetvrError(f"{folder}: its shards are of different models; make them again")
    write_manifest(folder, asdict(facts[0]), parts)
    for path in folder.glob("shard-*-of-*"):
        if path not in shards:
            shutil.rmtree(path)


def write_manifest(folder: Path, model_facts: Mapping[str, str], parts: Sequence[str]) -> None:
    values = {"format": FORMAT, "model": dict(model_facts), "parts": list(parts)}
    atomic.write_json(folder / MANIFEST, atomic.sealed(values))
