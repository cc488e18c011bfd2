"""The synthetic video world of the demo and the tests: moving shapes, real mp4 files, captions that need time.

Light: importing it pulls neither torch nor PyAV. `tiny_clip` trains the demo's backbone on still images of the world.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

IMAGE_SIZE = 48  # side in pixels of the pictures the tiny CLIP reads


def generate(
    kind: str,
    out: Path,
    *,
    sizes: Mapping[str, int],
    seed: int = 0,
    workers: int = 1,
    progress: bool = True,
) -> Path:
    """Write the data set folder `out` in the file formats of the real `kind`; returns the path of its `world.json`.

    `sizes` names the number of videos of train, val and test (a missing one is 0). The same seed gives the same
    annotation bytes and the same pixels whatever `workers` is. Videos that an interrupted call finished are kept;
    `world.json` is written last and means that the folder is complete. Raises PetvrError for an unknown kind, a bad
    size, or a folder that cannot be written.
    """
    from petvr.world import build

    return build.generate(kind, Path(out), sizes=sizes, seed=seed, workers=workers, progress=progress)
