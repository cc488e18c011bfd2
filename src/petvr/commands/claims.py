"""`petvr claims`: what each paper says in words, beside what its runs say."""

from __future__ import annotations

import argparse

from petvr import papers, planning
from petvr.config import Config
from petvr.errors import unknown
from petvr.layout import Layout


def arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(papers.NAMES)
    parser.add_argument("papers", nargs="*", metavar="PAPER", help=f"of {names}; default: all with a chosen table")


def run(args: argparse.Namespace, config: Config) -> None:
    for paper in args.papers:
        if paper not in papers.NAMES:
            raise unknown("paper", paper, papers.NAMES)
    from petvr.report.claims.evidence import ClaimEvidence
    from petvr.report.claims.page import PaperClaims, summary, write_claims

    plan, layout = planning.plan(config), Layout(config.results)
    evidence = ClaimEvidence(plan, layout, config.rule)
    planned = dict.fromkeys(table.paper for table in plan.tables.values() if table.paper in papers.NAMES)
    for name in args.papers or planned:
        paper = papers.load_paper(name)
        judged = [evidence.judge(name, claim, paper.printed_tables) for claim in paper.claims]
        page = PaperClaims(name, paper.title, judged, config.world is not None)
        html = write_claims(page, layout.claims)[1]
        print(f"{html}: {summary(page)}")
