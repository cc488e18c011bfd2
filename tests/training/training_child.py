"""Runs in its own process: `python training_child.py FOLDER PLACE`, and kills itself there with SIGKILL.

PLACE: `step:N` before the N-th group of parameters is updated (three a step), `evaluation:N` in the N-th evaluation
with all features computed, `checkpoint:N` with half of the N-th checkpoint written, `result` between ranks.npz and
result.json. `waiting` makes the file of that name before step 4 and waits for the file `go`; it is not killed.
"""

import os
import signal
import sys
import time
from pathlib import Path

import training_bench

from petvr.training import checkpoint, evaluate, optimizer, result_writer, run


def die_at(call: int, module, name: str, before=lambda *arguments: None) -> None:
    """The `call`-th call of a function does `before` and is never finished."""
    original, calls = getattr(module, name), [0]

    def counting(*arguments, **options):
        calls[0] += 1
        if calls[0] == call:
            before(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(module, name, counting)


def half_a_file(path, tensors, metadata) -> None:
    whole = checkpoint.path_of(Path(path).parent, 0, {})
    from safetensors.torch import save_file

    save_file(tensors, whole, metadata=metadata)
    data = whole.read_bytes()
    whole.unlink()
    Path(path).write_bytes(data[: len(data) // 2])


def main() -> None:
    folder, place = Path(sys.argv[1]), sys.argv[2]
    kind, _, number = place.partition(":")
    if kind == "step":
        die_at(int(number), optimizer.BertAdam, "_update")
    elif kind == "evaluation":
        die_at(int(number), evaluate.ranking, "evaluate")
    elif kind == "checkpoint":
        die_at(int(number), checkpoint, "_write", half_a_file)
    elif kind == "result":
        die_at(1, result_writer, "write_adapter")
    elif kind == "waiting":
        train_step = run.train_step

        def waiting_step(spec, state, *arguments):
            if state.step == 4:
                (folder / "waiting").touch()
                while not (folder / "go").exists():
                    time.sleep(0.01)
            train_step(spec, state, *arguments)

        run.train_step = waiting_step
    training_bench.train(training_bench.resumable(), **training_bench.arguments(folder), checkpoint_steps=4)


if __name__ == "__main__":
    main()
