"""How a video file is told from any other without reading all of it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from petvr.errors import PetvrError
from petvr.text_files import read_json

EDGE = 16_384  # bytes at both ends that a fingerprint covers: a container's table of contents lies there


def fingerprint(path: Path) -> str:
    """16 hex digits of the size and the first and last 16 KiB: fast, and different for any re-encoded video."""
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=8)
    with open(path, "rb") as stream:
        digest.update(stream.read(EDGE))
        if size > 2 * EDGE:
            stream.seek(-EDGE, os.SEEK_END)
        digest.update(stream.read(EDGE))
    return digest.hexdigest()


def shown_by(mark: Path) -> dict[tuple[str, str], str]:
    """(file, its fingerprint as it was written) -> fingerprint of what it shows, for the videos of a synthetic world.

    Two systems encode one scene into different bytes and decode the same pictures from them. A file that was changed
    later is not found here: it counts by its bytes, as real videos do. Empty where `mark` is not there.
    """
    if not mark.exists():
        return {}
    try:
        clips = read_json(mark, dict).get("clips", {}).values()
        return {(clip["file"], clip["written"]): clip["shown"] for clip in clips if "written" in clip}
    except (PetvrError, AttributeError, KeyError, TypeError) as error:
        raise PetvrError(f"{mark}: not what `petvr world` writes ({error}); generate the folder again") from error
