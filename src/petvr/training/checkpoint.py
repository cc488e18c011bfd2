"""Where a run stands: one state in memory, and on disk one safetensors file with a checksum and the run's identity.

Every file is complete and atomic; the two newest are kept. A file that is truncated, altered or of another run is
named in a warning and passed over, so that a run continues from the one before or starts again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from petvr import atomic
from petvr.errors import PetvrError, first_line
from petvr.result import Evaluation
from petvr.training.log import RunLog
from petvr.training.model import Model
from petvr.training.optimizer import Optimizer

FORMAT = 1
KEPT = 2
PATTERN = "step-*.safetensors"
COUNTERS = ("loss_steps", "train_seconds", "eval_seconds", "resumed", "pairs")


@dataclass
class Checkpoint:
    """`tensors` by name; `values` is JSON."""

    step: int
    tensors: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def under(self, prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}


@dataclass
class TrainState:
    """Everything that changes while a run goes on. optimizer: None where the run is only evaluated."""

    model: Model
    optimizer: Optimizer | None
    step: int = 0  # taken
    evaluations: list[Evaluation] = field(default_factory=list)
    ranks: list[dict[str, np.ndarray]] = field(default_factory=list)  # "plain/t2v" -> int32 [2, Q], one per evaluation
    best: dict[str, Tensor] | None = None  # trained tensors at the best evaluation
    loss_sum: Tensor | None = None  # since the last evaluation; on the device: nothing waits for it
    loss_steps: int = 0
    losses: Tensor | None = None  # float32 [steps of the run], on the device; NaN: not taken yet, or by an older petvr
    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    resumed: int = 0
    pairs: int = 0

    def evaluated(self) -> bool:
        """Whether the test split was ranked since the last step."""
        return bool(self.evaluations) and self.evaluations[-1].step == self.step

    def mean_loss(self) -> float | None:
        """Mean over the steps since the last evaluation; waits for the device."""
        return None if self.loss_sum is None or not self.loss_steps else float(self.loss_sum) / self.loss_steps

    def to_checkpoint(self) -> Checkpoint:
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state().items()}
        values: dict[str, Any] = {
            "evaluations": [evaluation.model_dump(mode="json") for evaluation in self.evaluations],
            "loss_sum": 0.0 if self.loss_sum is None else float(self.loss_sum),
            "threads": torch.get_num_threads(),
            **{key: getattr(self, key) for key in COUNTERS},
        }
        if self.optimizer is not None:
            moments, values["counters"] = self.optimizer.state()
            tensors |= {f"optimizer/{name}": tensor for name, tensor in moments.items()}
        if self.losses is not None:
            tensors["losses"] = self.losses
        for number, ranks in enumerate(self.ranks):
            tensors |= {f"ranks/{number}/{name}": torch.from_numpy(array) for name, array in ranks.items()}
        tensors |= {f"best/{name}": tensor for name, tensor in (self.best or {}).items()}
        return Checkpoint(self.step, tensors, values)

    def restore(self, checkpoint: Checkpoint) -> None:
        values = checkpoint.values
        self.model.restore(checkpoint.under("model/"))
        if self.optimizer is not None:
            self.optimizer.restore(checkpoint.under("optimizer/"), values["counters"])
        if self.losses is not None and "losses" in checkpoint.tensors:
            self.losses.copy_(checkpoint.tensors["losses"])
        self.step = checkpoint.step
        self.evaluations = [Evaluation.model_validate(each) for each in values["evaluations"]]
        self.ranks = [
            {name: tensor.numpy() for name, tensor in checkpoint.under(f"ranks/{number}/").items()}
            for number in range(len(self.evaluations))
        ]
        self.best = checkpoint.under("best/") or None
        self.loss_sum = torch.tensor(values["loss_sum"], dtype=torch.float64, device=self.model.device)
        for key in COUNTERS:
            setattr(self, key, values[key])
        self.resumed += 1


class Checkpointer:
    """Writes the state when that is due and takes it up again. One that cannot be written is told, not fatal.

    folder: of one run's checkpoints. Due every `seconds`, and every `steps` steps where given.
    """

    def __init__(
        self, folder: Path, identity: dict[str, str], log: RunLog, seconds: float, steps: int | None = None
    ) -> None:
        self.folder, self.identity, self.log, self.seconds, self.steps = folder, identity, log, seconds, steps
        self.saved, self.saved_at = (0, 0), time.monotonic()

    def resume(self, state: TrainState, total: int, at_most: int | None = None) -> None:
        """Continue from the newest usable checkpoint, if there is one; those past step `at_most` are removed."""
        checkpoint = newest_checkpoint(self.folder, self.identity, self.log.line)
        if checkpoint is None:
            return
        if at_most is not None and checkpoint.step > at_most:
            self.log.line(f"the checkpoint is at step {checkpoint.step}, past {at_most}: from the beginning")
            self.clear()
            return
        state.restore(checkpoint)
        self.saved = _mark(state)
        self.log.line(f"continuing at step {state.step} of {total} (time {state.resumed})")
        if checkpoint.values.get("threads") != torch.get_num_threads():
            self.log.line(
                "warning: the number of threads changed: the last digits may differ from an uninterrupted run's"
            )

    def save_if_due(self, state: TrainState) -> None:
        steps = state.step - self.saved[0]
        if (self.steps and steps >= self.steps) or time.monotonic() - self.saved_at >= self.seconds:
            self.save(state)

    def save(self, state: TrainState) -> bool:
        """True if the state is on disk."""
        if _mark(state) == self.saved:
            return True
        checkpoint, self.saved_at = state.to_checkpoint(), time.monotonic()
        try:
            write_checkpoint(self.folder, checkpoint, self.identity)
        except PetvrError as error:
            self.log.line(f"warning: {error}; going on without this checkpoint")
            return False
        self.saved = _mark(state)
        return True

    def clear(self) -> None:
        """Remove the state of a run that has its result, or is to begin anew."""
        _remove_halves(self.folder)
        for path in [*self.folder.glob(PATTERN), *self.folder.glob("step-*.rejected")]:
            path.unlink(missing_ok=True)


def _mark(state: TrainState) -> tuple[int, int]:
    return state.step, len(state.evaluations)


@contextlib.contextmanager
def lock_state(state: Path) -> Iterator[None]:
    """Two processes must not write one run's state."""
    with atomic.file_lock(state / "lock", "another process is at this run"):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                (state / "lock").unlink()
                state.rmdir()  # nothing is left in it once the result is written


def path_of(folder: Path, step: int, identity: dict[str, str]) -> Path:
    """The name carries the identity, so that a run under a changed recipe does not disturb the other's files."""
    mark = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return folder / f"step-{step:09d}-{mark}.safetensors"


def paths(folder: Path, identity: dict[str, str]) -> list[Path]:
    """This identity's files, the newest first."""
    return sorted(folder.glob(path_of(folder, 0, identity).name.replace(f"{0:09d}", "*")), reverse=True)


def write_checkpoint(folder: Path, checkpoint: Checkpoint, identity: dict[str, str]) -> Path:
    """Write atomically and drop all but the newest KEPT. PetvrError naming the file if that fails: none is lost."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    values = {"format": FORMAT, "identity": identity, "step": checkpoint.step, "values": checkpoint.values}
    text = json.dumps(values, sort_keys=True)
    path = path_of(folder, checkpoint.step, identity)
    with atomic.replacing(path) as temporary:
        _write(temporary, tensors, {"petvr": text, "sha256": checksum(tensors, text)})
    for old in paths(folder, identity)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def read_checkpoint(path: Path, identity: dict[str, str]) -> Checkpoint:
    """Raises PetvrError with what is wrong: unreadable, damaged, or another run's."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors raises its own errors
        raise PetvrError(f"{path}: truncated or no checkpoint ({first_line(error)})") from error
    text = metadata.get("petvr", "")
    if checksum(tensors, text) != metadata.get("sha256"):
        raise PetvrError(f"{path}: damaged (its checksum does not match)")
    values = json.loads(text)
    if values["format"] != FORMAT:
        raise PetvrError(f"{path}: format {values['format']}, this version reads {FORMAT}")
    for key, expected in identity.items():
        if values["identity"].get(key) != expected:
            raise PetvrError(f"{path}: of another run ({key} {values['identity'].get(key)}, here {expected})")
    return Checkpoint(values["step"], tensors, values["values"])


def newest_checkpoint(folder: Path, identity: dict[str, str], warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole and belongs to this run; `warn` gets one line per file passed over.

    Files that carry this run's name but cannot be used are renamed to `.rejected`.
    """
    _remove_halves(folder)
    mine = paths(folder, identity)
    others = sorted(set(folder.glob(PATTERN)) - set(mine), reverse=True)
    if others:
        warn(
            f"warning: {others[0]}: of another recipe, data or weights ({_difference(others[0], identity)}); left alone"
        )
    for number, path in enumerate(mine):
        try:
            return read_checkpoint(path, identity)
        except PetvrError as error:
            rest = mine[number + 1 :]
            warn(f"warning: {error}; {f'continuing with {rest[0].name}' if rest else 'starting from the beginning'}")
            path.rename(path.with_suffix(".rejected"))
    return None


def checksum(tensors: dict[str, Tensor], text: str) -> str:
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(memoryview(tensor.contiguous().reshape(-1).view(torch.uint8).numpy()))
    return total.hexdigest()


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    from safetensors.torch import save_file

    save_file(tensors, path, metadata=metadata)


def _remove_halves(folder: Path) -> None:
    """Temporary files of a writer that was killed."""
    for path in folder.glob(".step-*.part"):
        path.unlink(missing_ok=True)


def _difference(path: Path, identity: dict[str, str]) -> str:
    try:
        read_checkpoint(path, identity)
    except PetvrError as error:
        return str(error).partition(": ")[2]
    return "under another name"
