"""What one small job sees of its machine, its packages and its disks; and how long a file takes between it and the
machine where the workflow runs.

A job writes `<kind>.ping` into the folder they share; `answer_pings`, on the other side, writes `<kind>.pong` with its
clock as soon as it sees it. The way there and back is twice the disk's delay; what the clocks differ by is left over.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from petvr import atomic
from petvr.errors import PetvrError, first_line
from petvr.rehearsal.parts import Part
from petvr.text_files import read_json, typed

# what a run imports; a package of the head alone (MLflow, matplotlib) may be missing on a node
NEEDED = ("torch", "numpy", "safetensors", "tokenizers", "transformers", "av", "PIL", "scipy", "ftfy", "pydantic")
PATIENCE = 120.0  # seconds a pong is waited for
TICK = 0.05  # seconds between two looks
SKEW = 5.0  # seconds clocks may differ: files of a job must not seem older than its inputs
WRITTEN = 1 << 26  # bytes, to tell the disk's rate
SLOW = 20.0  # MB/s; a checkpoint of full tuning is 1.8 GB
SCRATCH_GB = 2.0


@dataclass(frozen=True)
class Pong:
    """What `answer_pings` writes."""

    sent: float
    clock: float
    host: str
    latency_wait: float


def check_node(part: Part, kind: str, meeting: Path, *, gpu: bool, tracking: str, answered: bool) -> None:
    """Run inside a job. meeting: a folder on the shared disk; answered: whether somebody answers pings."""
    from petvr.training.result_writer import package_versions

    part.facts |= {
        "host": socket.gethostname(),
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "node": os.environ.get("SLURMD_NODENAME", ""),
        "python": f"{platform.python_version()} ({shutil.which('python') or ''})",
        "packages": package_versions(),
        "modules": os.environ.get("LOADEDMODULES", ""),
        "cores": len(os.sched_getaffinity(0)),
    }
    check_modules(part)
    _check_gpu(part, gpu)
    _check_disk(part, meeting)
    _check_scratch(part)
    if answered:
        check_delay(part, kind, meeting)
    else:
        part.add("how late are files of another machine seen?", None, "one machine: nothing is shared")
    _check_signal(part)
    _check_tracking(part, tracking)


def check_modules(part: Part, needed: tuple[str, ...] = NEEDED) -> None:
    missing = []
    for name in needed:
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken package raises whatever it likes
            missing.append(f"{name}: {first_line(error)[:120]}")
    says = f"missing module: {'; '.join(missing)}" if missing else f"all {len(needed)} that a run imports"
    remedy = (
        "install it where jobs take their Python from; `submitit-setup` in slurm/config.yaml says what a node loads"
    )
    part.add("can everything be imported?", not missing, says, remedy)


def _check_gpu(part: Part, wanted: bool) -> None:
    import torch

    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    part.facts["gpus"] = gpus
    if not wanted:
        return
    says = (
        f"{', '.join(gpus)}"
        if gpus
        else f"none; torch {torch.__version__}, CUDA {torch.version.cuda or 'not built in'}"
    )
    remedy = "a CPU build of torch (PETVR_TORCH=cuda make install), a job without `gpu`, or a driver that is too old"
    part.add("is the GPU seen that was asked for?", bool(gpus), says, remedy)


def _check_disk(part: Part, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content, start = os.urandom(1 << 20), time.perf_counter()
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as stream:
            for _ in range(WRITTEN >> 20):
                stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        part.add(
            "can results be written?", False, f"{folder}: {error.strerror or error}", "room, rights, or another disk"
        )
        return
    rate = WRITTEN / 1e6 / (time.perf_counter() - start)
    part.facts["write MB/s"] = round(rate)
    says = f"{rate:,.0f} MB/s below {folder}"
    part.add("can results be written?", True if rate >= SLOW else None, says if rate >= SLOW else f"slowly: {says}")


def _check_scratch(part: Part) -> None:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free / 1e9
    says = f"{folder}: {free:,.1f} GB free"
    part.add("is there scratch space?", free >= SCRATCH_GB, says, "set TMPDIR in submitit-setup to a larger folder")


def check_delay(part: Part, kind: str, meeting: Path, patience: float = PATIENCE) -> None:
    """Seconds until a file from here is seen there, and by how much the clocks differ."""
    asked, ping, pong = (
        "how late are files of another machine seen?",
        meeting / f"{kind}.ping",
        meeting / f"{kind}.pong",
    )
    pong.unlink(missing_ok=True)
    sent = time.time()
    atomic.write_json(ping, {"sent": sent, "host": socket.gethostname()})
    answer = _awaited(pong, patience, sent)
    back = time.time()
    remedy = "write latency-wait: {} into slurm/config.yaml, or keep results on a disk that both machines see at once"
    if answer is None:
        says = f"slow shared disk: no answer within {patience:g} s to a file written below {meeting}"
        part.add(asked, False, says, remedy.format(int(4 * patience)))
        return
    latency_wait = answer.latency_wait
    delay = max(0.0, (back - sent) / 2)
    skew = answer.clock - (sent + back) / 2
    part.facts |= {"disk delay s": round(delay, 2), "clock skew s": round(skew, 2)}
    good = 2 * delay <= latency_wait
    says = f"a file written here is seen there after {delay:.1f} s; latency-wait is {latency_wait:g} s"
    part.add(asked, good, says if good else f"slow shared disk: {says}", remedy.format(int(4 * delay) + 5))
    part.add(
        "do the clocks agree?",
        abs(skew) <= SKEW + delay,
        f"{skew:+.1f} s against {answer.host}",
        "clocks must be set alike (NTP): the workflow compares times of files",
    )


def _awaited(path: Path, patience: float, sent: float) -> Pong | None:
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            answer = typed(Pong, read_json(path, dict), path)
            if answer.sent == sent:
                return answer
        except PetvrError:  # not yet there, or another's
            pass
        os.scandir(path.parent).close()  # a network disk looks at its folder anew
        time.sleep(TICK)
    return None


def answer_pings(meeting: Path, go_on: Callable[[], bool], latency_wait: float) -> None:
    """On the machine where the workflow runs, while `go_on` says so."""
    meeting.mkdir(parents=True, exist_ok=True)
    done: dict[str, float] = {}
    while go_on():
        for ping in meeting.glob("*.ping"):
            try:
                sent = float(read_json(ping, dict)["sent"])
                if done.get(ping.name) != sent:
                    content = {"sent": sent, "clock": time.time(), "host": socket.gethostname()}
                    atomic.write_json(ping.with_suffix(".pong"), content | {"latency_wait": latency_wait})
                    done[ping.name] = sent
            except (ValueError, TypeError, KeyError, PetvrError):
                continue
        time.sleep(TICK)


def _check_signal(part: Part) -> None:
    """Slurm is asked to send this job what it sends before the time limit; it must come as far as this process."""
    asked, job = "does the signal before preemption arrive?", os.environ.get("SLURM_JOB_ID")
    if not job:
        part.add(asked, None, "no Slurm job")
        return
    arrived: list[float] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: arrived.append(time.monotonic()))
    try:
        start = time.monotonic()
        # to all of the job, as Slurm's own warning comes; scancel itself is one of its processes
        done = subprocess.run(
            ["scancel", "--signal=USR2", job], capture_output=True, text=True, timeout=60,
            preexec_fn=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),
        )  # fmt: skip
        while not done.returncode and not arrived and time.monotonic() < start + PATIENCE / 4:
            time.sleep(TICK)
    except (OSError, subprocess.TimeoutExpired) as error:
        part.add(asked, None, f"scancel cannot be asked: {first_line(error)}")
        return
    finally:
        signal.signal(signal.SIGUSR2, before)
    says = f"after {arrived[0] - start:.1f} s" if arrived else done.stderr.strip() or f"not within {PATIENCE / 4:g} s"
    part.add(
        asked, bool(arrived), says, "runs would lose what they did since their last checkpoint: checkpoint_minutes"
    )


def _check_tracking(part: Part, uri: str) -> None:
    """Runs never need it: where it is reached from is a fact, not a reason to stop."""
    address = urlsplit(uri)
    if address.scheme not in ("http", "https"):
        part.add("is MLflow reached from here?", None, "a file that the workflow's own machine alone writes")
        return
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=5).close()
        part.add("is MLflow reached from here?", True, f"{address.hostname}:{port}")
    except OSError as error:
        says = f"{address.hostname}:{port}: {error.strerror or error}; only the workflow's own machine writes to it"
        part.add("is MLflow reached from here?", None, says)


def unequal_packages(parts: list[Part], own: dict[str, str]) -> list[str]:
    """`torch 2.9.0 on node3, 2.8.0 here`: numbers of one table would come from several versions."""
    differing = []
    for part in parts:
        for name, version in part.facts.get("packages", {}).items():
            if own.get(name) != version:
                differing.append(f"{name} {version} on {part.facts.get('host')}, {own.get(name, 'none')} here")
    return differing
