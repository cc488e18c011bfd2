"""`petvr ...`: what the workflow's rules call, and what a person calls. Each command is a file of petvr.commands."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from petvr import __version__, fork_server
from petvr.errors import PetvrError, missing_extra, on_one_line, unknown

# command -> what it does; torch, MLflow and matplotlib are imported by the commands that need them
FOR_PEOPLE = {
    "init": "begin a folder of your own: config.yaml, Snakefile and profiles for the installed workflow",
    "rehearse": "go or no-go before anything trains: weights, zero-shot, every model, the cluster, disk",
    "plan": "what would run: runs, GPU hours and disk before anything is launched",
    "cells": "every run with its paper, tables, data set, backbone, method, setting, seed and status",
    "params": "trainable parameters of every row next to the printed figure, with a verdict",
    "costs": "FLOPs and activations of a step of every model, and on request its time and memory here",
    "bench": "rates of this machine, and what steps, reader and evaluation of some methods make of them",
    "probes": "what every method can see (order, counting, one frame, a small patch): train and test it, minutes",
    "show": "one run: metrics per epoch, recipe with the source of each value, cost, data, provenance",
    "summary": "where the tables are, how complete they are, and one of them on the screen",
    "search": "the best videos of a finished run for a sentence, or the best captions for a video file",
    "examples": "a page of queries one run or two get right and wrong, with the frames the model saw",
    "encode": "a folder of videos as an index that `petvr search --index` reads",
    "export": "a finished run as a folder to share: tensors, settings, card; merged or in PEFT's format on request",
    "serve": "a search page in the browser for one run, two, or an index",
    "figure": "draw figures of papers and tables; --list names them",
    "claims": "what each paper says in words, with a verdict from the runs",
    "tune": "what tuning tried and chose for each method; freeze the choices, export the trials",
    "compare": "differences between runs on the same test queries: interval, tests, verdict",
    "score": "metrics of any model's score matrix under every rule for ties, with intervals",
    "verify": "read weights, manifests, frames, results and checkpoints again and name what is damaged",
    "videos": "look at video files as they are read, one line each; rewrite what decord misreads",
    "jobs": "what the Slurm profile submitted: state, Slurm id, node, time, log",
    "warm": "run a command, e.g. snakemake, whose petvr jobs share one started process",
    "mlflow": "open MLflow on loopback, rebuilding its store from the results first",
}
FOR_THE_WORKFLOW = {
    "world": "generate one data set of the synthetic world, in the file format of the real one",
    "weights": "bring a backbone's weights into results/weights (the demo: train its tiny CLIP)",
    "download": "bring a data set's annotation files and videos; --list says from where",
    "data": "check a data set and write its manifest, freeze what is there, or show the status of all",
    "frames": "decode each video once into the frame store",
    "train": "train and evaluate one run; resumes where a killed one stopped",
    "table": "build a table from the results that are there",
    "index": "build the page that links all tables",
    "track": "bring results into MLflow",
    "docs": "write docs/methods.md, docs/papers.md and docs/probes.md anew from the code and the tables",
}
# commands that work in any folder; where it has a config.yaml, they read it
WITHOUT_CONFIG = {
    *(
        "bench",
        "compare",
        "costs",
        "encode",
        "examples",
        "export",
        "init",
        "jobs",
        "params",
        "probes",
        "score",
        "search",
        "serve",
    ),
    *("show", "videos", "warm"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the command says no (a failed check), 2 bad input, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if fork_server.serves(words) and (code := fork_server.hand_over(words)) is not None:
            return code
        return _flushed(words, _run_command(words))
    except PetvrError as error:
        print(f"petvr: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("petvr: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `petvr cells | head`
        _drop_output()
        return 0
    except Exception as error:  # a full disk, a folder that may not be written, no more open files
        from petvr.atomic import system_reason  # imports pydantic, which whoever hands over does without

        if not (reason := system_reason(error)):
            raise
        where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        _drop_output()
        print(f"petvr: error: {on_one_line(where + reason)}", file=sys.stderr)
        return 2


def _flushed(words: list[str], code: int) -> int:
    """What a command of the workflow makes is its files: a log that cannot be written takes nothing from it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        if fork_server.command_of(words) not in FOR_THE_WORKFLOW:
            raise
        _drop_output()
    return code


def _drop_output() -> None:
    """What is still to be printed goes nowhere, so that the end of the process is no second error."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run_command(arguments: list[str]) -> int:
    args, rest = _main_parser().parse_known_args(arguments)
    if args.command is None and rest:
        raise PetvrError(f"petvr: unknown argument '{rest[0]}'; petvr --help says more")
    if args.command is None:
        _main_parser().print_help()
        return 0
    if args.command not in FOR_PEOPLE | FOR_THE_WORKFLOW:
        raise unknown("command", args.command, FOR_PEOPLE | FOR_THE_WORKFLOW)
    from petvr import config

    parser = _Parser(prog=f"petvr {args.command}", description=(FOR_PEOPLE | FOR_THE_WORKFLOW)[args.command])
    try:
        command = importlib.import_module(f"petvr.commands.{args.command}")
        command.arguments(parser)
        if args.command != "warm":  # whose words are another program's
            _refuse_empty(parser, args.rest + rest)
        parsed = parser.parse_args(args.rest + rest, argparse.Namespace(configfile=args.configfile))
        settings = config.load_config(args.configfile, needed=args.command not in WITHOUT_CONFIG)
        return command.run(parsed, settings) or 0
    except ModuleNotFoundError as error:
        raise missing_extra(parser.prog, error) or error from error


def _refuse_empty(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """An empty word is a variable that is not set, and must not stand for "not given"."""
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        option = parser._option_string_actions.get(name) if equals and value.strip() in ("", "--") else None
        # else its type sees to it; argparse makes a list of `--x=--`
        if not word.strip() or (option is not None and (option.type is None or value.strip())):
            where = name if equals else f"behind '{words[number - 1]}'" if number else "the first"
            parser.error(f"an empty argument ({where}); is a variable not set?")


class _Once(argparse._StoreAction):
    """An option with one value; of two, the first would be dropped without a word."""

    given = False

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        if option and self.given:
            parser.error(f"argument {option}: given twice")
        if option and self.nargs is None and (values == [] or (self.type is None and not values.strip())):
            parser.error(f"argument {option}: empty")  # [] is what argparse makes of `--x=--`
        if self.nargs in ("*", "+") and (twice := [one for one in values or () if values.count(one) > 1]):
            parser.error(f"argument {option or self.metavar or self.dest}: {twice[0]} is given twice")
        self.given = True
        super().__call__(parser, namespace, values, option)


class _EachOnce(argparse._AppendAction):
    """An option with several values, of which the second of two alike would be dropped, or done twice."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        if values in (getattr(namespace, self.dest) or ()):
            parser.error(f"argument {option}: {values} is given twice")
        super().__call__(parser, namespace, values, option)


class _Parser(argparse.ArgumentParser):
    """Wrong words are one line, as all that is wrong."""

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self.register("action", None, _Once)
        self.register("action", "store", _Once)
        self.register("action", "append", _EachOnce)

    def error(self, message: str) -> NoReturn:
        raise PetvrError(f"{self.prog}: {message}; {self.prog} --help says more")


def _main_parser() -> argparse.ArgumentParser:
    lines = [f"  {name:<9}{text}" for name, text in FOR_PEOPLE.items()]
    lines += ["", "called by the workflow, and useful by hand:"]
    lines += [f"  {name:<9}{text}" for name, text in FOR_THE_WORKFLOW.items()]
    parser = _Parser(
        prog="petvr",
        description="Text-video retrieval tables, from video files to mean±std over seeds.",
        epilog="commands:\n" + "\n".join(lines) + "\n\n`petvr COMMAND --help` says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"petvr {__version__}")
    parser.add_argument(
        "-c",
        "--configfile",
        action="append",
        default=[],
        metavar="FILE",
        help="lay FILE over config.yaml (`demo` stands for workflow/demo.yaml); may be given more than once",
    )
    parser.add_argument("command", nargs="?", metavar="COMMAND")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser
