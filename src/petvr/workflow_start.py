"""What a workflow does before its first job: whose lock lies there, what still runs, what finished meanwhile.

A Snakemake that was killed leaves three things behind: its lock, jobs that live on, and marks of files it had not seen
completed. All three are settled here, so that the next start needs no `--unlock` and trains nothing twice.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import shlex
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from petvr.atomic import bring_to_now, dated_ahead, holder, me
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.papers.plan import Plan
from petvr.status import RunState, status_of

SNAKEMAKE = Path(".snakemake")
MARKS = ("world.json", "download.done")  # files of ours among a data set's


def start_lines(layout: Layout, plan: Plan, folder: Path = SNAKEMAKE) -> list[str]:
    """Settle what an earlier start left; one line for each thing a person should know."""
    with contextlib.suppress(OSError):  # a folder that cannot be written: Snakemake says so itself
        folder.mkdir(parents=True, exist_ok=True)
        return [*_claim(folder), *_take_over_results(layout, plan, folder), *_running(layout), *_dates(layout, plan)]
    return []


def _claim(folder: Path) -> Iterator[str]:
    """Hold petvr.lock, together with other Snakemakes, while this process lives. Whoever can have it alone is the only
    one, and a lock of Snakemake's that lies there is dead: it was taken on this machine by a process that is gone.
    """
    handle = os.open(folder / "petvr.lock", os.O_RDWR | os.O_CREAT, 0o666)  # never closed
    note = os.pread(handle, 4096, 0).decode(errors="replace").strip()
    locks = list((folder / "locks").glob("*.lock"))
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield f"petvr: another Snakemake is at work in this folder ({note}); where both want the same files, one stops"
        return
    if locks and f" on {socket.gethostname()}," in note and not _other_snakemake():
        for lock in locks:
            lock.unlink(missing_ok=True)
        yield f"petvr: the lock of an earlier Snakemake ({note}) is removed: that process is gone"
    elif locks:
        yield (
            f"petvr: {folder / 'locks'}: left by {note or 'a Snakemake of which nothing is known'}; whether it lives "
            "cannot be seen from here; if not: snakemake --unlock"
        )
    os.ftruncate(handle, 0)
    os.pwrite(handle, me().encode(), 0)
    fcntl.flock(handle, fcntl.LOCK_SH)


def _other_snakemake() -> bool:
    """Whether any other process of this machine is a Snakemake in this very folder, perhaps one of another workflow."""
    mine, pid = {os.getpid()}, os.getpid()
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        mine.add(pid)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            named = any(word.rpartition(b"/")[2] == b"snakemake" for word in words)
            if named and int(process.name) not in mine and os.readlink(process / "cwd") == os.getcwd():
                return True
    return False


def _take_over_results(layout: Layout, plan: Plan, folder: Path) -> Iterator[str]:
    """Results that Snakemake marked as begun and nobody saw completed. It would delete them and train again: the job
    finds them beside the run's state and puts them back.
    """
    runs = {str(layout.result(run)): run for run in plan.runs}
    for mark in (path for path in (folder / "incomplete").rglob("*") if path.is_file()):
        name = "".join(part.removeprefix("@") for part in mark.relative_to(folder / "incomplete").parts)
        with contextlib.suppress(ValueError):
            run = runs.get(base64.urlsafe_b64decode(name).decode())
            if run and status_of(layout, plan.runs[run]).state is RunState.DONE:
                layout.state(run).mkdir(parents=True, exist_ok=True)
                os.replace(layout.result(run), layout.finished(run))
                yield f"petvr: {run}: finished after its workflow was killed; its result is taken over"


def require_dates(inputs: Iterable[Path]) -> None:
    """PetvrError for a person's file that is dated in the future: Snakemake would remove all that is made of it."""
    for path in dated_ahead(inputs):
        if path.name in MARKS and bring_to_now([path]):
            continue
        date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(path.stat().st_mtime))
        raise PetvrError(
            f"{path}: dated {date}, in the future, so that Snakemake takes all that is made of it for out of date; "
            f"set the clock right, or: touch {shlex.quote(str(path))}"
        )


def _dates(layout: Layout, plan: Plan) -> Iterator[str]:
    """Where the clock was set back since our files were written."""
    results, reports = layout.results, (layout.tables, layout.claims, layout.figures)
    places = ("manifests/*.json", "weights/*/model.safetensors", "frames/**/index.json", "mlflow/**/*.synced")
    ours = [path for place in places for path in results.glob(place)]
    ours += [*(layout.result(run) for run in plan.runs), *(path for one in reports for path in one.rglob("*.*"))]
    if ahead := bring_to_now(ours):
        yield f"petvr: {ahead[0]} and {len(ahead) - 1} more were dated in the future, and are dated now"


def _running(layout: Layout) -> Iterator[str]:
    """Runs and frame stores that a process is at. Snakemake removes a job's log before it starts the job: the one that
    such a process still writes to stays under another name.
    """
    for lock in sorted([*layout.locks(), *(layout.results / "frames").rglob("*.partial/lock")]):
        if who := holder(lock):
            name = str(lock.parent.relative_to(layout.results).as_posix()).removeprefix("state/")
            note, log = "", layout.log(name)
            if log.exists():
                kept = log.with_suffix(f".{log.stat().st_ino}.log")
                with contextlib.suppress(FileExistsError):
                    os.link(log, kept)
                note = f"; its log goes on in {kept}"
            yield f"petvr: {name}: still at work from an earlier start ({who}): waited for, not started twice{note}"
