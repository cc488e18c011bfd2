"""A command that a warm process runs behaves like one that ran by itself: streams, exit code, signals, death."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from petvr import fork_server

AT_MOST = 1800  # seconds: so that a server that hangs ends the test; no machine is that slow

SERVER = """
import os, signal, sys
from pathlib import Path
from petvr import fork_server

def main(words):
    what = words[1]
    if what == "say":
        print("out", os.getcwd(), os.environ["MARK"], flush=True)
        print("err", sys.stdin.read(), file=sys.stderr)
        return 7
    if what == "raise":
        raise RuntimeError("broken on purpose")
    if what == "leave":
        raise SystemExit(75)
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "wait":
        signal.signal(signal.SIGUSR2, lambda *_: sys.exit(75))
        Path(words[2]).write_text(str(os.getpid()))
        while True:
            signal.pause()

fork_server.PRELOAD = {"train": ()}
fork_server.serve(Path(sys.argv[1]), int(sys.argv[2]), main)
"""
CLIENT = "import sys; from petvr import fork_server; sys.exit(fork_server.hand_over(['train', *sys.argv[1:]]))"


@pytest.fixture
def server(tmp_path):
    """The environment of a client."""
    process, hold, environment = started_server(tmp_path)
    yield environment
    os.close(hold)
    assert process.wait(timeout=AT_MOST) == 0


def started_server(tmp_path):
    """The server, the end of its lifeline that ends it when closed, and the environment of a client."""
    end, hold = os.pipe()
    path = tmp_path / "socket"
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(path), str(end)], pass_fds=[end])
    os.close(end)
    until(path.exists, process)
    return process, hold, os.environ | {fork_server.VARIABLE: fork_server.address(path), "MARK": "of the client"}


def until(true, process=None):
    """Waits; not for a process that ended."""
    end = time.monotonic() + AT_MOST
    while not true():
        assert process is None or process.poll() is None, f"it ended with {process.returncode}: see its standard error"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def client(server, *words, **options):
    return subprocess.Popen([sys.executable, "-c", CLIENT, *words], env=server, text=True, **options)


def waiting(server, tmp_path):
    """A client whose fork waits, and the fork's process id."""
    process = client(server, "wait", str(tmp_path / "pid"))
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), process)
    return process, int((tmp_path / "pid").read_text())


def test_streams_folder_environment_and_exit_code_are_the_clients(server, tmp_path):
    pipe = subprocess.PIPE
    process = client(server, "say", cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=pipe)
    out, err = process.communicate("typed", timeout=AT_MOST)
    assert (process.returncode, out, err) == (7, f"out {tmp_path} of the client\n", "err typed\n")


@pytest.mark.parametrize(
    "what, code, text", [("raise", 1, "RuntimeError: broken on purpose"), ("leave", 75, ""), ("die", 137, "SIGKILL")]
)
def test_ends_are_told(server, what, code, text):
    process = client(server, what, stderr=subprocess.PIPE)
    _, err = process.communicate(timeout=AT_MOST)
    assert process.returncode == code
    assert text in err


def test_a_signal_reaches_the_fork(server, tmp_path):
    process, pid = waiting(server, tmp_path)
    process.send_signal(signal.SIGUSR2)
    assert process.wait(timeout=AT_MOST) == 75
    until(lambda: gone(pid))


def test_a_killed_client_takes_its_fork_along(server, tmp_path):
    process, pid = waiting(server, tmp_path)
    process.kill()
    process.wait()
    until(lambda: gone(pid))


def test_forks_run_beside_each_other_and_end_with_the_server(tmp_path):
    process, hold, environment = started_server(tmp_path)
    places = [tmp_path / "a", tmp_path / "b"]
    for place in places:
        place.mkdir()
    both = [waiting(environment, place) for place in places]
    assert not any(gone(pid) for _, pid in both)
    os.close(hold)
    assert process.wait(timeout=AT_MOST) == 0
    for one, pid in both:
        assert one.wait(timeout=AT_MOST) == 1
        until(lambda pid=pid: gone(pid))


def test_without_a_server_nothing_is_run_and_it_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(fork_server.VARIABLE, fork_server.address(tmp_path / "nobody"))
    assert fork_server.hand_over(["train", "x"]) is None
    assert "no warm process" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, source, expected",
    [
        (["train", "x"], fork_server.SOURCE, True),
        (["-c", "demo", "table", "x"], fork_server.SOURCE, True),
        (["-c", "train", "frames"], fork_server.SOURCE, False),
        (["frames", "train"], fork_server.SOURCE, False),
        (["train", "x"], "/another/copy", False),
    ],
)
def test_only_known_commands_of_the_same_source_are_handed_over(monkeypatch, words, source, expected):
    monkeypatch.setenv(fork_server.VARIABLE, f"/some/socket:{source}")
    assert fork_server.serves(words) is expected
    monkeypatch.delenv(fork_server.VARIABLE)
    assert not fork_server.serves(words)


@pytest.mark.slow
def test_the_command_line_ends_with_the_commands_exit_code(tmp_path):
    script = 'test -S "${PETVR_WARM%%:*}" && echo "$PETVR_WARM"; exit 9'
    process = subprocess.run(
        [sys.executable, "-m", "petvr", "warm", "bash", "-c", script],
        capture_output=True, text=True, timeout=AT_MOST, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert process.returncode == 9, process.stderr
    path = process.stdout.strip().partition(":")[0]
    assert path and not Path(path).exists()
