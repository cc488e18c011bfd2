"""`petvr jobs`: what the Slurm profile submitted, run by run: state, Slurm id, node, time, log."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from petvr.arguments import named_path
from petvr.config import Config
from petvr.errors import PetvrError, unknown
from petvr.screen import screen

STATES = {
    "queued": "submitted, not started yet",
    "running": "started",
    "requeued": "told to leave, wrote its checkpoint, waits for its next start",
    "done": "ended with success",
    "failed": "ended without; the log says why",
    "cancelled": "taken back, by Ctrl-C or because its inputs changed",
}
FOLDER = Path(".snakemake") / "submitit"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "state", nargs="?", help=f"only these: {', '.join(STATES)}; or prune: remove the files of jobs that are done"
    )
    parser.add_argument(
        "--folder", type=named_path, default=FOLDER, help="the profile's submitit-folder (default: %(default)s)"
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.epilog = "states: " + "; ".join(f"{name} = {text}" for name, text in STATES.items())


def run(args: argparse.Namespace, config: Config) -> None:
    if args.folder != FOLDER and not args.folder.is_dir():
        raise PetvrError(f"--folder {args.folder}: no such folder")
    if args.state == "prune":
        return _prune(args.folder)
    if args.state and args.state not in STATES:
        raise unknown("state", args.state, STATES)
    rows = [row for row in list_jobs(args.folder) if args.state in (None, row["state"])]
    if args.format == "json":
        json.dump(rows, sys.stdout, indent=1)
        print()
        return
    if not rows:
        what = f"no job is {args.state}" if args.state else "no job was submitted from this folder"
        print(f"{what} (ledger: {args.folder / 'ledger.jsonl'})")
        return
    from rich.table import Table

    from snakemake_executor_plugin_submitit.pending import explain_reason

    table = Table(box=None, pad_edge=False)
    for name in ("job", "state", "waits for", "Slurm id", "node", "starts", "time"):
        table.add_column(name, overflow="fold", justify="right" if name in ("starts", "time") else "left")
    table.add_column("log", overflow="fold")
    for row in rows:
        starts, span = str(row["starts"] or ""), _span(row["seconds"])
        table.add_row(row["job"], row["state"], row["waits_for"], row["id"], row["node"], starts, span, row["log"])
    console = screen()
    console.print(table, highlight=False)
    counts = {name: sum(row["state"] == name for row in rows) for name in STATES}
    console.print(", ".join(f"{count} {name}" for name, count in counts.items() if count), highlight=False)
    for word in sorted({row["waits_for"] for row in rows} - {""}):
        console.print(f"{word}: {explain_reason(word).meaning}", highlight=False)


def _prune(folder: Path) -> None:
    from snakemake_executor_plugin_submitit import prune

    try:
        print(prune.main(folder))
    except SystemExit as refusal:
        raise PetvrError(str(refusal)) from None


def list_jobs(folder: Path) -> list[dict[str, Any]]:
    """The newest submission of each piece of work, from the ledger and the files the jobs themselves wrote."""
    from snakemake_executor_plugin_submitit.json_files import read_json, read_owner
    from snakemake_executor_plugin_submitit.ledger import Ledger

    rows: list[dict[str, Any]] = []
    batches: dict[int, tuple[str, str]] = {}
    for work, submission in sorted(Ledger(folder / "ledger.jsonl").latest.items()):
        files = folder / "jobs" / submission.folder
        owner, result = read_owner(files), read_json(files / "result.json")
        end = result.get("ended") or submission.ended or owner.get("left")
        if outcome := result.get("outcome") or submission.outcome:
            state = {"success": "done", "resubmitted": "queued"}.get(outcome, outcome)
        else:
            state = "requeued" if owner.get("left") else "running" if owner else "queued"
        begin = owner.get("started")
        if state in ("queued", "requeued") and str(submission.id)[:1].isdigit():
            batches[len(rows)] = (str(submission.id), submission.batch)
        rows.append(
            {
                "job": _job_name(work, submission.wildcards, submission.name),
                "state": state,
                "waits_for": "",
                "id": owner.get("job") or submission.id or "",
                "node": owner.get("node") or owner.get("host") or "",
                "starts": owner.get("starts", 0),
                "seconds": max(0.0, round((end or time.time()) - begin, 1)) if begin else None,  # clocks may differ
                "attempt": submission.attempt,
                "reason": result.get("reason") or submission.reason,
                "log": str(files / "log.txt"),
            }
        )
    if batches:
        for number, reason in _reasons(batches).items():
            rows[number]["waits_for"] = reason
    return rows


def _reasons(jobs: dict[int, tuple[str, str]]) -> dict[int, str]:
    """Slurm's word for why each of these jobs (number, batch) does not start; none where squeue does not answer."""
    from snakemake_executor_plugin_submitit.slurm_queue import SlurmQueue, SlurmUnreachable

    try:
        entries = asyncio.run(SlurmQueue().poll(jobs.values()))
    except SlurmUnreachable as error:
        print(f"squeue gives no answer ({error}): the list says what the jobs themselves wrote", file=sys.stderr)
        return {}
    return {row: entries[job].reason for row, job in jobs.items() if job in entries and entries[job].pending}


def _job_name(work: str, wildcards: dict[str, str], rule: str) -> str:
    """A run by its id, as it is typed elsewhere; any other job by its rule and wildcards."""
    parts = ("paper", "dataset", "backbone", "method", "seed")
    if rule == "train" and all(part in wildcards for part in parts):
        *cell, seed = (wildcards[part] for part in parts)
        return "/".join([*cell, f"seed-{seed}"])
    return f"{rule} {' '.join(wildcards.values())}".strip() if wildcards else work


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
