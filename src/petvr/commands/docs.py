"""`petvr docs methods`: write docs/methods.md anew from the code."""

from __future__ import annotations

import argparse
from pathlib import Path

from petvr import atomic
from petvr.config import Config

PAGES = ("methods",)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("page", nargs="?", choices=PAGES, default="methods", help="default: methods")
    parser.add_argument("--out", type=Path, default=Path("docs"), metavar="FOLDER", help="default: docs")


def run(args: argparse.Namespace, config: Config) -> None:
    from petvr.report.docs import page

    path = args.out / f"{args.page}.md"
    atomic.write_text(path, page.methods_page())
    print(path)
