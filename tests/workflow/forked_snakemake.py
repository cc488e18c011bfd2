"""Calls of Snakemake as forks of one process that has imported it, which is most of what a small call costs.

    done = forked_snakemake.call(["-n", "all_tables"], folder, environment)    # as subprocess.run with captured output

Nothing of petvr is imported before the fork: each call reads the files as they are then.
"""

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

PATIENCE = 1800  # seconds, which only ends what hangs: the call's exit code is -14 then


def call(arguments, folder, environment):
    with tempfile.TemporaryDirectory() as streams:
        out, err = Path(streams, "out"), Path(streams, "err")
        order = [list(map(str, arguments)), str(folder), dict(environment), str(out), str(err)]
        server = _server()
        print(json.dumps(order), file=server.stdin, flush=True)
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())


@functools.cache
def _server():
    server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)  # it ends with its input
    return server


def _serve():
    from snakemake import cli

    cli.get_argument_parser()  # imports the plugins
    import numpy  # noqa: F401  what petvr imports when it plans
    import pydantic  # noqa: F401
    import yaml  # noqa: F401

    while line := sys.stdin.readline():
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            return _become(cli, *order)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _become(cli, arguments, folder, environment, out, err):
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
        os.dup2(os.open(path, flags | os.O_CREAT, 0o600), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:1] = ["", *environment.get("PYTHONPATH", "").split(os.pathsep)]
    sys.argv = ["snakemake", *arguments]
    signal.alarm(PATIENCE)
    cli.main()


if __name__ == "__main__":
    _serve()
