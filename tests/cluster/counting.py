"""A pretended training: `counting.py GOAL NAME` takes steps and keeps a checkpoint every fourth one.

Four steps before its goal it waits for the file `go`, so that whoever disturbs it is never too late. Asked to leave
(SIGUSR2) it writes down where it is and exits with 75; started again it goes on from there, or from its last periodic
checkpoint. `metric-NAME` depends on every step, so that a lost or a repeated one shows; `listens-NAME` has a line per
start, written once the signal is heard.
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
    state, signals = pathlib.Path(f"state-{name}"), []
    signal.signal(signal.SIGUSR2, lambda *_: signals.append(1))
    step, metric = map(int, state.read_text().split()) if state.exists() else (0, 0)
    with open(f"listens-{name}", "a") as listens:
        listens.write("listens\n")
    while step < goal:
        time.sleep(0.1)
        if signals or step < goal - 4 or pathlib.Path("go").exists():
            step, metric = step + 1, metric_after(step + 1, step, metric)
        if signals or step % 4 == 0:
            state.with_suffix(".new").write_text(f"{step} {metric}")
            state.with_suffix(".new").replace(state)
        if signals:
            sys.exit(75)
    pathlib.Path(f"metric-{name}").write_text(str(metric))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
