"""`petvr docs`: write docs/methods.md, docs/papers.md and docs/probes.md anew from the code."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from petvr import atomic
from petvr.arguments import named_path
from petvr.config import Config


def _methods_page() -> str:
    from petvr.report.docs import page

    return page.methods_page()


def _papers_page() -> str:
    from petvr.report.docs import papers_page

    return papers_page.papers_page()


def _probes_page() -> str:
    from petvr.report.docs import probes_page

    return probes_page.probes_page()


PAGES: dict[str, Callable[[], str]] = {"methods": _methods_page, "papers": _papers_page, "probes": _probes_page}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("page", nargs="?", choices=PAGES, help="default: all")
    parser.add_argument("--out", type=named_path, default=Path("docs"), metavar="FOLDER", help="default: docs")


def run(args: argparse.Namespace, config: Config) -> None:
    names = [args.page] if args.page else list(PAGES)
    for name in names:
        atomic.require_writable(args.out / f"{name}.md")
    for name in names:
        path = args.out / f"{name}.md"
        atomic.write_text(path, PAGES[name]())
        print(path)
