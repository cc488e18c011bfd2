"""A folder with a Snakefile, and the heads (Snakemake processes) that are started in it on the cluster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from snakemake_executor_plugin_submitit.ledger import Ledger


class Folder:
    def __init__(self, path: Path, workflow: str):
        self.path = path
        (path / "Snakefile").write_text(workflow)
        self.heads: list[subprocess.Popen] = []

    def head(self, *arguments: str, **config) -> subprocess.Popen:
        pairs = [f"{name}={value}" for name, value in config.items()]
        command = [sys.executable, "-m", "snakemake", "--executor", "submitit", "--jobs", "100", "--nolock"]
        command += ["--rerun-incomplete", "--scheduler", "greedy", "--latency-wait", "5", "--keep-going", *arguments]
        command += ["--config", *pairs] if pairs else []
        self.log = self.path / f"head-{len(self.heads)}.txt"
        with open(self.log, "w") as log:
            head = subprocess.Popen(command, cwd=self.path, stdout=log, stderr=log, start_new_session=True)
        self.heads.append(head)
        return head

    def run(self, *arguments: str, code: int = 0, seconds: float = 150, **config) -> str:
        head = self.head(*arguments, **config)
        got = head.wait(seconds)
        assert got == code, self.log.read_text()[-3000:]
        return self.log.read_text()

    def starts(self, name: str | int) -> int:
        path = self.path / f"starts-{name}"
        return len(path.read_text().split()) if path.exists() else 0

    def ledger(self) -> Ledger:
        return Ledger(self.path / ".snakemake" / "submitit" / "ledger.jsonl")

    def batches(self) -> int:
        return len(list((self.path / ".snakemake" / "submitit" / "batches").iterdir()))

    def started(self, count: int) -> bool:
        return all(self.starts(i) for i in range(count))
