"""Figures of the papers and of every table: kinds are code here, figures are data (petvr.papers.figures)."""

from __future__ import annotations

from petvr.report.figures.draw import FORMATS, compose, write_figure
from petvr.report.figures.rows import FigureRows, absent_runs, collect_rows
from petvr.report.figures.spent import read_costs

__all__ = ["FORMATS", "FigureRows", "absent_runs", "collect_rows", "compose", "read_costs", "write_figure"]
