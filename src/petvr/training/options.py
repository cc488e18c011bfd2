"""What a run is given beside its spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from petvr.data.datasets import Dataset
from petvr.result import Rehearsed
from petvr.training.data import DatasetCheck, MissingPolicy, World

if TYPE_CHECKING:
    from torch import Tensor

    from petvr.training.checkpoint import TrainState

CHECKPOINT_SECONDS = 600.0


@dataclass(frozen=True)
class StartTensors:
    """Somebody else's trained tensors. origin: where they come from, in words. train: else they are evaluated only."""

    tensors: Mapping[str, Tensor]
    origin: str
    digest: str
    train: bool

    @property
    def said(self) -> str:
        """What follows the run's name wherever it is shown."""
        return f"{'began with' if self.train else 'shows'} the tensors of {self.origin}"


@dataclass(frozen=True)
class TrainOptions:
    """Where a run's inputs lie, where its outputs go, and how it uses the machine: no result depends on the latter."""

    weights: Path  # folder of CLIP's weights in their canonical form
    store: Path  # frame store
    dataset: Dataset
    out: Path  # result.json, ranks.npz, adapter.safetensors, loss.npy, log.txt
    state: Path  # checkpoints; emptied once the result exists
    world: World = "real"
    missing: MissingPolicy = "strict"  # what to do about videos that the store lacks
    rehearsal: Rehearsed | None = None  # what the rehearsal said of this installation
    checked: DatasetCheck = field(default_factory=DatasetCheck)  # what manifest and lock say of the data set
    start: StartTensors | None = None  # what the run begins with instead of the method's own start
    resume: bool = True  # False: forget the checkpoints and start anew
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    checkpoint_steps: int | None = None  # besides, every so many steps
    device: str | None = None  # "cpu", "cuda", ...; None takes a GPU if there is one
    deterministic: bool = True  # False: take kernels that are no repetition of themselves, and say so in the result
    threads: int | None = None  # of the CPU; None takes PETVR_THREADS or torch's choice
    progress: bool | None = None  # None draws a bar on a terminal only
    eval_frames_per_batch: int | None = None  # frames that an evaluation encodes at once
    compile: bool = False  # the towers' blocks through torch.compile, in training
    activation_checkpointing: bool = False  # the towers' blocks are computed again for their backward pass
    micro_batch: int | None = None  # samples of a batch that are encoded and scored at once; its loss stays; None: all
    feature_cache: Path | None = None  # folder of all caches of vision towers' frozen beginnings
    flop_counts: Path | None = None  # folder of the FLOP counts that runs share; None: each counts for itself
    feature_cache_gib: float = 0.0  # what one of them may take; 0: none
    watch: Callable[[TrainState], None] | None = None  # is shown the state after every step and evaluation
