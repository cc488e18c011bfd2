"""What runs on the node: the command of one submission as a child in its own session, and its result as a file.

Here a job learns that it is preempted, near its time limit or cancelled: `NodeRunner._on_signal`.

Only the standard library is imported: this starts once per job. Files in the submission's folder:
  spec.json     what to run (written by the head)      owner.json    which process works on it, and its spec
  log.txt       output of all starts                   result.json   outcome, written once, in place of owner.json
  stopped.json  asked to leave, and left               cancel        the head wants it gone
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from snakemake_executor_plugin_submitit.json_files import (
    T,
    has_room,
    is_alive,
    process_identity,
    read_json,
    read_owner,
    read_spec,
    wait_for_room,
    write_json,
)

OWNER_POLL_S = float(os.environ.get("SUBMITIT_JOB_TICK", 10.0))  # between two readings of the owner file
KILL_AFTER_S = 2.0  # from SIGTERM to SIGKILL for what is cancelled; less than what Slurm gives this process
STOP_WAIT_S = 25.0  # for stragglers of the process group, once the child itself has left as asked
SIGNAL_GRACE_S = 3.0  # for a signal to reach this process too, where it has ended the child
ROOM_WAIT_S = 1800.0  # for room on a full disk
GPU_VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
EXIT_STATUS = re.compile(r"non-zero exit status (\d+)|died with <Signals\.\w+: (\d+)>")


class NodeRunner:
    """One start of a submission."""

    def __init__(self, folder: Path, slurm_log: Path | None = None):
        self.folder = folder
        self.slurm_log = slurm_log  # what Slurm and this process itself write
        self.spec = read_spec(folder)
        if not self.spec:
            raise FileNotFoundError(f"{folder}/spec.json: not there; is this folder on a disk that all nodes share?")
        self.disk_was_full = False
        self.script: IO[bytes] | None = None
        self.received_signal: str | None = None  # why it is to leave: "signal", "term" or "cancel"
        self.child: subprocess.Popen[bytes]
        self.me = {"token": uuid.uuid4().hex, **process_identity(), **slurm_job(), "started": time.time()}
        self.me["gpus"] = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        self.signal = getattr(signal, f"SIG{self.spec['signal']}")

    def run_command(self) -> str:
        if not self._patiently(self._claim):
            return "superseded"
        if missing := self._missing_gpus():
            self._write_result("failed", None, missing)
            sys.exit(1)
        wake_read, wake_write = os.pipe()
        for end in (wake_read, wake_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (self.signal, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
            signal.signal(number, self._on_signal)
        with self._patiently(lambda: open(self.folder / "log.txt", "ab", buffering=0)) as log:
            node = f"{self.me['job']} on {self.me['node']}" if self.me["job"] else f"{self.me['host']}"
            line = f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} start {self.starts}: {node}\n"
            self._patiently(lambda: log.write(line.encode()))
            self.offset = log.tell()
            guard = self._start_guard()
            self.child = subprocess.Popen(
                ["bash", self._script()],
                pass_fds=[self.script.fileno()] if self.script else [],
                cwd=self.spec["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its own process group: signals reach all of it, and Ctrl-C none of it
                preexec_fn=self._before_exec,
            )
            try:
                return self._watch(wake_read)
            finally:
                with contextlib.suppress(BrokenPipeError), guard:
                    guard.write(b"\n")

    def _patiently(self, write: Callable[[], T]) -> T:
        """Where the disk is full, wait a while for room rather than lose what the job has done."""
        deadline = time.monotonic() + ROOM_WAIT_S

        def log(text: str) -> None:
            self.disk_was_full = True
            print(text, file=sys.stderr, flush=True)

        return wait_for_room(write, log, lambda: time.monotonic() > deadline or self.received_signal is not None)

    def _missing_gpus(self) -> str:
        """What is wrong where the job sees fewer GPUs than it asked for; training on the CPU is no answer to that."""
        asked = self.spec.get("gpu", 0)
        visible = next((value for value in map(os.environ.get, GPU_VARIABLES) if value), "")
        count = len([name for name in visible.split(",") if name.strip() not in ("", "-1", "NoDevFiles")])
        if count >= asked:
            return ""
        node = self.me["node"] or self.me["host"]
        return (
            f"asked for {asked} GPUs and sees {count} on {node} (CUDA_VISIBLE_DEVICES={visible!r}): Slurm gave none; "
            f"see `scontrol show node {node}`, or ask with gres"
        )

    def _start_guard(self) -> IO[bytes]:
        """Start a shell that ends the child's group should this process be killed: the pipe to it, which is returned,
        then closes without a line.
        """

        def ignore_signals() -> None:
            for number in (self.signal, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)

        # in the background of a shell that leaves at once: no child of this process, it is not found with its children
        script = "exec 3<&0 > /dev/null 2>&1; (read pid <&3 && (read line <&3 || kill -KILL -- -$pid)) &"
        command, pipe = ["bash", "-c", script], subprocess.PIPE
        guard = subprocess.Popen(command, stdin=pipe, start_new_session=True, preexec_fn=ignore_signals)
        guard.wait()
        assert guard.stdin is not None  # a pipe was asked for
        self.guard_pipe = guard.stdin.fileno()
        return guard.stdin

    def _before_exec(self) -> None:
        os.write(self.guard_pipe, f"{os.getpid()}\n".encode())  # before the command does anything
        # whoever does not know the signal must not die of it: only a process with a handler of its own hears it
        signal.signal(self.signal, signal.SIG_IGN)

    def _claim(self) -> bool:
        """Make this process the one that works on the submission; False where there is nothing to do.

        A node that is cut off keeps running a job that Slurm has started again elsewhere. The newer process puts its
        name into the owner file and waits for the older one to see that and to end its child.
        """
        latest = read_json(self.folder.parent / "latest.json")
        if (self.folder / "cancel").exists():
            return False
        if read_json(self.folder / "result.json") or latest.get("folder", self.folder.name) != self.folder.name:
            return False
        before = read_json(self.folder / "owner.json")
        self.starts = before.get("starts", 0) + 1
        self._write_owner()
        if "command" in self.spec:  # an earlier version has it in a file
            (self.folder / "spec.json").unlink(missing_ok=True)
        if before and not before.get("left") and is_alive(before) is not False:
            deadline = time.monotonic() + 2.5 * OWNER_POLL_S
            while time.monotonic() < deadline and is_alive(before) is not False:
                if (self.folder / f"left-{before['token']}").exists():
                    break
                time.sleep(0.5)
            if read_json(self.folder / "result.json"):
                return False
        return True

    def _write_owner(self, **more: Any) -> None:
        write_json(self.folder / "owner.json", {**self.me, "starts": self.starts, **more, "spec": self.spec})

    def _script(self) -> str:
        """A path of the command, which may be too long for an argument and must not be bash's input."""
        if "command" not in self.spec:
            return str(self.folder / "command.sh")
        memory = hasattr(os, "memfd_create")
        self.script = os.fdopen(os.memfd_create("command"), "w+b") if memory else tempfile.TemporaryFile()  # noqa: SIM115
        self.script.write(self.spec["command"].encode())
        self.script.flush()
        return f"/dev/fd/{self.script.fileno()}"

    def _on_signal(self, number: int, frame: Any) -> None:
        if number == signal.SIGCONT:
            return
        if (self.folder / "cancel").exists() or number == signal.SIGINT:
            self.received_signal = "cancel"
        elif self.received_signal not in ("cancel", "signal"):
            self.received_signal = "signal" if number == self.signal else "term"

    def _watch(self, wake: int) -> str:
        """Wait for the child; pass signals on; end it where it is cancelled or another start has taken over."""
        passed = None
        child = os.pidfd_open(self.child.pid) if hasattr(os, "pidfd_open") else None
        while self.child.poll() is None:
            pipes = [wake] if child is None else [wake, child]
            ready, _, _ = select.select(pipes, [], [], OWNER_POLL_S if child else 0.2)
            if wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 512)
            if self.received_signal == "cancel" or (self.folder / "cancel").exists():
                return self._end("cancelled")
            if self.received_signal and self.received_signal != passed:
                passed = self.received_signal
                self._signal_group(self.signal)
            if not self._is_owner():
                return self._end("superseded")
        if child is not None:
            os.close(child)
        return self._finish(self.child.returncode)

    def _is_owner(self) -> bool:
        owner = read_owner(self.folder)
        return not owner or owner.get("token") == self.me["token"]

    def _signal_group(self, number: int) -> bool:
        """Send a signal to all processes of the child's group; False where none is left."""
        try:
            os.killpg(self.child.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _empty_group(self, patience: float) -> None:
        """Wait for the group to empty itself, then empty it."""
        deadline = time.monotonic() + patience
        while self._signal_group(0):
            if time.monotonic() > deadline:
                self._signal_group(signal.SIGKILL)
                break
            self.child.poll()
            time.sleep(0.05)

    def _end(self, outcome: str) -> str:
        self._signal_group(signal.SIGTERM)
        self._empty_group(KILL_AFTER_S)
        self.child.wait()
        (self.folder / f"left-{self.me['token']}").touch()
        if outcome == "cancelled" and self._is_owner():
            self._write_result(outcome, None, "cancelled")
        return outcome

    def _finish(self, code: int) -> str:
        """The child has left: a result, or a note that it will continue."""
        self._empty_group(STOP_WAIT_S if self.received_signal else 0.5)
        status = self._status(code)
        if code and not self.received_signal and status not in self.spec["requeue_codes"]:
            # what Slurm sends to all processes may have ended the child before it reaches this one
            deadline = time.monotonic() + (SIGNAL_GRACE_S if code < 0 or status > 128 else SIGNAL_GRACE_S / 6)
            while not self.received_signal and time.monotonic() < deadline:
                time.sleep(0.05)
        if self.received_signal == "cancel":
            return self._end("cancelled")
        asked = self.received_signal is not None
        if not self._is_owner():
            (self.folder / f"left-{self.me['token']}").touch()
            return "superseded"
        if code == 0:
            return self._write_result("success", 0, "")
        # with a checkpoint, to go on later. Slurm signals the whole step and this process passes it on: the second
        # signal may meet a Python past its handlers, on its way out with that code; who never listened ignores it
        left = status in self.spec["requeue_codes"] or (asked and status == 128 + self.signal)
        if not asked and not left:
            self._write_result("failed", status, f"exit code {status}" if code > 0 else f"killed by signal {-code}")
            sys.exit(1)
        if left and self.starts > self.spec["max_requeues"]:
            self._write_result("failed", status, f"was told to leave {self.starts} times (submitit-max-requeues)")
            sys.exit(1)
        # no result: whether this was preemption, the time limit or scancel shows in Slurm's state, which the head reads
        running, preempted = self._slurm_state() if self.received_signal == "term" else (True, False)
        left = left or preempted  # who dies of the announcement goes on from an older checkpoint
        stopped = {"told": self.received_signal, "code": status, "left": left}
        write_json(self.folder / "stopped.json", {**self.me, **stopped})
        if not left:
            sys.exit(1)
        self._write_owner(left=time.time())
        if running:
            self._requeue()
        sys.exit(75)

    def _slurm_state(self) -> tuple[bool, bool]:
        """Whether Slurm calls this job running, and preempted. SIGTERM alone announces preemption, which it may have
        outlived for a while, or follows scancel and the time limit, after which a job no longer counts as running.
        """
        command = ["scontrol", "--oneliner", "show", "job", self.me["job"]]
        running = preempted = False
        for _ in range(3):  # a SIGTERM to all processes of the job may end this one too
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            except (OSError, subprocess.TimeoutExpired):
                return False, False
            fields = done.stdout.split()
            running = "JobState=RUNNING" in fields
            preempted = running and any(re.match(r"PreemptTime=\d", one) for one in fields)
            if done.returncode == 0 and (preempted or not running):
                break
            time.sleep(0.3)
        return running, preempted

    def _status(self, code: int) -> int:
        """Exit code of the rule's own command: the inner Snakemake turns every failure into 1 and prints the code."""
        if code < 0:
            return 128 - code
        with open(self.folder / "log.txt", "rb") as log:
            log.seek(max(self.offset, os.fstat(log.fileno()).st_size - 65536))
            statuses = EXIT_STATUS.findall(log.read().decode(errors="replace"))
        if not statuses:
            return code
        exited, killed = statuses[-1]
        return int(exited) if exited else 128 + int(killed)

    def _write_result(self, outcome: str, code: int | None, reason: str) -> str:
        value = {**self.me, "outcome": outcome, "code": code, "reason": reason, "ended": time.time()}
        if outcome == "failed" and (self.disk_was_full or not has_room(self.folder)):
            value["disk_full"] = True
        self._patiently(lambda: write_json(self.folder / "result.json", {**value, "starts": self.starts}))
        (self.folder / "owner.json").unlink(missing_ok=True)
        if outcome == "success" and self.slurm_log:
            self.slurm_log.unlink(missing_ok=True)  # nothing in it is of use any more
        return outcome

    def _requeue(self) -> None:
        """Ask Slurm for another start. Refused or impossible is no failure: the head submits it again."""
        if not self.me["job"]:
            return
        print(f"left with a checkpoint, told by {self.received_signal}", file=sys.stderr, flush=True)
        try:
            done = subprocess.run(["scontrol", "requeue", self.me["job"]], capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"scontrol requeue {self.me['job']}: {error}", file=sys.stderr, flush=True)
            return
        if done.returncode:
            print(f"scontrol requeue {self.me['job']}: {done.stderr.strip()}", file=sys.stderr, flush=True)
            return
        print(f"requeued {self.me['job']}", file=sys.stderr, flush=True)
        # Slurm ends this process. Were it to end by itself first, its exit code would beat the requeue now and then
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(120)


def slurm_job() -> dict[str, Any]:
    """Slurm's number, node and restart count of this job; empty outside of Slurm."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")
    node = os.environ.get("SLURMD_NODENAME", "")
    return {"job": job, "node": node, "restarts": int(os.environ.get("SLURM_RESTART_COUNT", 0))}


def main(folder: Path) -> None:
    """`folder` is a submission's, or that of a batch: then this is the task of an array that Slurm says it is."""
    batch, slurm_log = read_json(folder / "batch.json"), folder / "runner.txt"
    if batch:
        slurm_log = folder / f"{slurm_job()['job']}_0_log.out"
        folder = Path(batch["folders"][int(os.environ.get("SLURM_ARRAY_TASK_ID", 0))])
    NodeRunner(folder, slurm_log).run_command()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
