"""One process that has imported torch serves many commands: each request is a fork of it, ready at once.

`petvr warm snakemake --profile demo all_tables` starts the server, runs the command beside it and ends the server with
it. A command whose environment names the server (PETVR_WARM) hands over its arguments, environment, folder and open
streams, forwards signals, and exits as the fork exits: whoever started it sees no difference but the time.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

VARIABLE = "PETVR_WARM"  # "<socket>:<folder of the package>", set by `petvr warm`
PRELOAD = {  # command -> what its forks should find imported; frames, world and weights have pools of their own
    "train": ("petvr.training.run", "torch._dynamo", "torch.utils.flop_counter"),
    "tune": ("petvr.training.trial",),
    "table": ("petvr.report.tables.uncertainty",),
    "index": ("petvr.report.tables",),
    "figure": ("petvr.report.figures", "matplotlib.figure", "matplotlib.backends.backend_svg"),
    "track": ("mlflow", "petvr.report.tracking"),
    "claims": ("petvr.report.claims.page",),
    "examples": ("petvr.search.opened", "petvr.report.examples.page"),
}
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGHUP)
SOURCE = str(Path(__file__).parent)


def address(path: Path) -> str:
    return f"{path}:{SOURCE}"


def serves(arguments: list[str]) -> bool:
    """Whether a server is named, serves this very source, and one of the commands it knows is called."""
    path, _, source = os.environ.get(VARIABLE, "").partition(":")
    return bool(path) and source == SOURCE and command_of(arguments) in PRELOAD


def command_of(arguments: list[str]) -> str | None:
    words = iter(arguments)
    for word in words:
        if word in ("-c", "--configfile"):
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


def hand_over(arguments: list[str]) -> int | None:
    """Have the server run the command; its exit code, or None where no server answers (then nothing was run)."""
    path = os.environ[VARIABLE].partition(":")[0]
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.connect(path)
    except OSError as error:
        print(f"petvr: no warm process at {path} ({error.strerror}); starting a new one", file=sys.stderr)
        return None
    order = json.dumps({"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}).encode()
    with line, line.makefile("rb") as answers:
        signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # until the fork is known that they are for
        try:
            socket.send_fds(line, [len(order).to_bytes(8, "big")], [0, 1, 2])
            line.sendall(order)
            started = answers.readline()
            if not started:
                return None
            for number in FORWARDED:
                signal.signal(number, lambda received, _: _send_signal(int(started), received))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        code = answers.readline()
    if not code:
        print("petvr: the warm process ended before the command did", file=sys.stderr)
        return 1
    if int(code) < 0:
        print(f"petvr: killed by {signal.Signals(-int(code)).name}", file=sys.stderr)
        return 128 - int(code)
    return int(code)


def serve(path: Path, lifeline: int, main: Callable[[list[str]], int]) -> None:
    """For each request fork and call `main` with its arguments, until the other end of the pipe `lifeline` closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal: clients forward it
    wake, bell = socket.socketpair()
    bell.setblocking(False)
    signal.set_wakeup_fd(bell.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    os.environ.pop(VARIABLE, None)
    forks: dict[int, socket.socket] = {}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, selectors.DefaultSelector() as ready:
        listener.bind(f"{path}.new")
        listener.listen(256)
        os.rename(f"{path}.new", path)  # whoever sees it can connect
        for source, what in ((listener, "order"), (wake, "ended"), (lifeline, "over")):
            ready.register(source, selectors.EVENT_READ, what)
        _preload("train")
        while True:
            for key, _ in ready.select():
                if key.data == "over":
                    for pid in forks:
                        _send_signal(pid, signal.SIGKILL)
                    return
                if key.data == "ended":
                    wake.recv(4096)
                    _report_ended(forks, ready)
                elif key.data == "order":
                    _fork_for(listener.accept()[0], forks, ready, main)
                elif key.fileobj in forks.values():  # a client that is gone takes its work with it
                    ready.unregister(key.fileobj)
                    _send_signal(key.data, signal.SIGKILL)


def _fork_for(
    line: socket.socket,
    forks: dict[int, socket.socket],
    ready: selectors.BaseSelector,
    main: Callable[[list[str]], int],
) -> None:
    """Read one order and fork for it."""
    try:
        size, streams, *_ = socket.recv_fds(line, 8, 3)
        with line.makefile("rb") as orders:
            order = json.loads(orders.read(int.from_bytes(size, "big")))
    except (OSError, ValueError):  # the client died in mid-sentence
        line.close()
        return
    _preload(command_of(order["arguments"]))
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become(order, streams, main)
    for stream in streams:
        os.close(stream)
    forks[pid] = line
    ready.register(line, selectors.EVENT_READ, pid)
    with contextlib.suppress(OSError):
        line.sendall(f"{pid}\n".encode())


def _become(order: dict[str, Any], streams: list[int], main: Callable[[list[str]], int]) -> NoReturn:
    """In the fork: become the command, and end with its exit code."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for forwarded in (*FORWARDED, signal.SIGCHLD):
            signal.signal(forwarded, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.environ.clear()
        os.environ.update(order["environment"])
        os.environ.pop(VARIABLE, None)
        os.chdir(order["folder"])
        code = main(order["arguments"])
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _report_ended(forks: dict[int, socket.socket], ready: selectors.BaseSelector) -> None:
    """Tell each client how its fork ended."""
    while forks:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        line = forks.pop(pid, None)
        if line is None:
            continue
        with contextlib.suppress(KeyError):
            ready.unregister(line)
        with line, contextlib.suppress(OSError):
            line.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _preload(command: str | None) -> None:
    """What a fork for this command should find: its modules, and the papers read, which every plan begins with."""
    for module in PRELOAD.get(command or "", ()):
        importlib.import_module(module)
    from petvr import papers
    from petvr.costs import counting_code

    papers.faults()
    if "torch" in sys.modules:
        counting_code.code_digest()  # of the files as they are now: a fork runs these, whatever is edited meanwhile
        sys.modules["torch"].set_num_threads(1)  # a pool would not survive the fork; each run sets its own number


def _send_signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
