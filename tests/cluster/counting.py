"""A pretended training: `counting.py GOAL NAME` takes a step every half second and keeps a checkpoint.

Told to leave (SIGUSR2) it writes down where it is and exits with 75; started again it goes on from there, or from its
last periodic checkpoint. `metric-NAME` depends on every step, so that a lost or a repeated one shows.
"""

import pathlib
import signal
import sys
import time


def metric_after(goal: int, step: int = 0, metric: int = 0) -> int:
    while step < goal:
        step += 1
        metric = (metric * 31 + step) % 1000003
    return metric


def main(goal: int, name: str) -> None:
    state, told = pathlib.Path(f"state-{name}"), []
    signal.signal(signal.SIGUSR2, lambda *_: told.append(1))
    step, metric = map(int, state.read_text().split()) if state.exists() else (0, 0)
    while step < goal:
        time.sleep(0.5)
        step, metric = step + 1, metric_after(step + 1, step, metric)
        if told or step % 4 == 0:
            state.with_suffix(".new").write_text(f"{step} {metric}")
            state.with_suffix(".new").replace(state)
        if told:
            sys.exit(75)
    pathlib.Path(f"metric-{name}").write_text(str(metric))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
