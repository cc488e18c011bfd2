"""The file formats of the real data sets, one file each, written as text from clips.

A layout has STYLE (what its clips are like), `clip_names(sizes, seed)` -> (id, split) per video, `file_name(id)`,
`caption_scene(scene, rng)` -> captions, and `annotation_texts(clips, seed)` -> text per annotation file.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from petvr.errors import unknown

KINDS = tuple(sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py")))


def load_layout(kind: str) -> ModuleType:
    """The layout of a data set's folder. PetvrError where no file has its name."""
    if kind not in KINDS:
        raise unknown("world", kind, KINDS)
    return importlib.import_module(f"{__name__}.{kind}")
