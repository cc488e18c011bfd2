"""A folder with a Snakefile, and the heads (Snakemake processes) that are started in it on the cluster."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from job_driver import HANG_S

from snakemake_executor_plugin_submitit.ledger import Ledger


def hear_signals() -> None:
    """In a new process: a shell in the background and nohup have everything below them ignore Ctrl-C and hangups."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class WorkflowFolder:
    def __init__(self, path: Path, workflow: str):
        self.path = path
        (path / "Snakefile").write_text(workflow)
        self.heads: list[subprocess.Popen] = []

    def allow(self) -> None:
        """Make the file that jobs wait for where the workflow is configured with wait=1."""
        (self.path / "go").touch()

    def head(self, *arguments: str, **config) -> subprocess.Popen:
        pairs = [f"{name}={value}" for name, value in config.items()]
        command = [sys.executable, "-m", "snakemake", "--executor", "submitit", "--jobs", "100", "--nolock"]
        command += ["--rerun-incomplete", "--scheduler", "greedy", "--latency-wait", "5", "--keep-going", *arguments]
        command += ["--config", *pairs] if pairs else []
        self.log = self.path / f"head-{len(self.heads)}.txt"
        with open(self.log, "w") as log:
            head = subprocess.Popen(
                command, cwd=self.path, stdout=log, stderr=log, start_new_session=True, preexec_fn=hear_signals
            )
        self.heads.append(head)
        return head

    def run(self, *arguments: str, code: int = 0, **config) -> str:
        return self.end(self.head(*arguments, **config), code)

    def end(self, head: subprocess.Popen, code: int = 0) -> str:
        """Wait for the newest head's end; what it said."""
        assert head.wait(HANG_S) == code, self.log.read_text()[-3000:]
        return self.log.read_text()

    def starts(self, name: str | int) -> int:
        path = self.path / f"starts-{name}"
        return len(path.read_text().split()) if path.exists() else 0

    def ledger(self) -> Ledger:
        return Ledger(self.path / ".snakemake" / "submitit" / "ledger.jsonl")

    def batches(self) -> int:
        """How often something was submitted."""
        return len({one.batch for one in self.ledger().submissions.values()})

    def started(self, count: int) -> bool:
        return all(self.starts(i) for i in range(count))
