"""`petvr warm COMMAND ...`: run a command whose petvr jobs share one started process instead of each starting torch."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from petvr import environment, fork_server
from petvr.config import Config
from petvr.errors import PetvrError


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="e.g. snakemake --profile demo")


def run(args: argparse.Namespace, config: Config) -> int:
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not words:
        raise PetvrError("petvr warm: no command given; e.g. petvr warm snakemake --profile demo all_tables")
    with tempfile.TemporaryDirectory(prefix="petvr-warm-") as folder:
        path = Path(folder) / "socket"
        source = Path(fork_server.SOURCE).parent  # the server must import this very one
        lifeline, hold = os.pipe()  # closed by the kernel however this process ends
        serve = f"fork_server.serve(Path({str(path)!r}), {lifeline}, cli.main)"
        code = f"from pathlib import Path; from petvr import cli, fork_server; {serve}"
        server = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=[lifeline],
            env=os.environ | {"PYTHONPATH": environment.leading("PYTHONPATH", source)},
        )
        os.close(lifeline)
        try:
            while not path.exists() and server.poll() is None:
                time.sleep(0.01)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command decides what Ctrl-C means
            served = os.environ | {fork_server.VARIABLE: fork_server.address(path)}
            return subprocess.call(words, env=served, preexec_fn=_attend)
        except OSError as error:
            raise PetvrError(f"{words[0]}: cannot be started: {error.strerror}") from error
        finally:
            os.close(hold)
            server.wait()


def _attend() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
