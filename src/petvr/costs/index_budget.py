"""What an index of N videos costs before a file is opened: decoding, encoding, disk, memory, and a search."""

from __future__ import annotations

from dataclasses import dataclass

from petvr.clip.config import geometry
from petvr.costs import formula
from petvr.costs.budget import GB, Assumptions
from petvr.errors import PetvrError


@dataclass(frozen=True)
class IndexAssumptions:
    """decode_rate: videos a second and core; read_rate: bytes a second that one core multiplies from memory (measured:
    one million x 512 in 0.27 CPU seconds); record: bytes that say which file a row is."""

    decode_rate: float = 8.0
    video_mb: float = 1.0
    read_rate: float = 3.8e9
    search_cores: int = 2
    record: int = 200
    precision: str = "bf16"


@dataclass(frozen=True)
class IndexBudget:
    """Disk in GB: of the videos, of the vectors, of the frames' features for similarities that need them."""

    videos: int
    decode_core_hours: float
    gpu_hours: float
    videos_gb: float
    vectors_gb: float
    frames_gb: float
    records_gb: float
    search_seconds: float
    assumptions: tuple[str, ...]


def estimate_index(videos: int, backbone: str, frames: int, assumed: Assumptions | None = None) -> IndexBudget:
    """Of `videos` videos, `frames` each, with a CLIP of a published size."""
    if not 1 <= videos <= 10**12:
        raise PetvrError(f"--index: {videos} given, allowed: 1 to 1e12")
    clip, speed, own = geometry(backbone), assumed or Assumptions(), IndexAssumptions()
    rate = speed.tflops[own.precision] * 1e12 * speed.share[own.precision]
    vector = 2 * clip.embed
    return IndexBudget(
        videos=videos,
        decode_core_hours=videos / own.decode_rate / 3600,
        gpu_hours=videos * frames * formula.frame(clip) / rate / 3600,
        videos_gb=videos * own.video_mb * 1e6 / GB,
        vectors_gb=videos * vector / GB,
        frames_gb=videos * frames * (vector + 1) / GB,
        records_gb=videos * own.record / GB,
        search_seconds=videos * vector / own.read_rate / own.search_cores,
        assumptions=(
            f"{own.decode_rate:g} videos a second and core are decoded and scaled (short clips of 320 x 240; a guess "
            f"for others), {own.video_mb:g} MB a file",
            f"{backbone}, {frames} frames a video, on one {speed.device} at {speed.tflops[own.precision]:g} TFLOP/s x "
            f"{speed.share[own.precision]:.0%} in {own.precision}; the method's own modules are not counted",
            "float16: one vector of a video, and one of every frame where the similarity is no product of two vectors; "
            "patches, which TS2-Net's similarity needs, are not counted",
            f"a search reads every vector once from memory, {own.read_rate / GB:g} GB a second and core on "
            f"{own.search_cores} cores; the first one reads them from disk",
        ),
    )


def render_index(budget: IndexBudget) -> str:
    """As `petvr plan --index` prints it."""
    lines = [
        f"an index of {budget.videos:,} videos",
        f"  decoding        {budget.decode_core_hours:,.1f} core hours",
        f"  encoding        {budget.gpu_hours:,.1f} GPU hours",
        f"  videos          {budget.videos_gb:,.1f} GB, not needed once they are encoded",
        f"  vectors         {budget.vectors_gb:,.1f} GB on disk, and as much memory for the searches to be quick",
        f"  frames          {budget.frames_gb:,.1f} GB on disk, for similarities that look at frames",
        f"  which file      {budget.records_gb:,.1f} GB on disk, read for the answers alone",
        f"  an exact search {budget.search_seconds:,.2f} s",
        "assumptions:",
        *(f"  - {line}" for line in budget.assumptions),
    ]
    return "\n".join(lines)
