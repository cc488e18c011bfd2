"""`petvr mlflow`: the MLflow page on loopback, with the store brought up to date first."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from petvr import planning
from petvr.arguments import host_name, port
from petvr.commands.serve import listen
from petvr.commands.track import sync
from petvr.config import Config
from petvr.errors import PetvrError, without_secrets


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", type=host_name, default="127.0.0.1", help="default: loopback (there is no password)")
    parser.add_argument("--port", type=port, default=5000)


def run(args: argparse.Namespace, config: Config) -> int:
    if config.tracking_uri.startswith(("http://", "https://")):
        print(f"MLflow is a server already: {without_secrets(config.tracking_uri)}")
        return 0
    listen(args.host, args.port).close()  # an address that is none or taken is said before MLflow starts
    status = sync(config, planning.plan(config))
    if not status.ok:
        raise PetvrError(status.warning)
    print(f"{status.logged} runs logged, {status.unchanged} unchanged; Ctrl-C ends the page", flush=True)
    from petvr.report.tracking.store import VIEW

    # a browser that is new to MLflow opens its pages for language models; the view has R@1, size and seeds as columns
    page = f"#/experiments/{status.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"
    print(f"http://{args.host}:{args.port}/{page}", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui"]
    # one worker: each of more imports MLflow again before the page answers
    command += ["--host", args.host, "--port", str(args.port), "--workers", "1", "--uvicorn-opts=--log-level warning"]
    # by the environment: a command line can be read by everybody
    variables = {"MLFLOW_BACKEND_STORE_URI": config.tracking_uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    variables |= {"DO_NOT_TRACK": "true", "PYTHONWARNINGS": "ignore", "MLFLOW_LOGGING_LEVEL": "WARNING"}
    return subprocess.call(command, env=os.environ | variables)
