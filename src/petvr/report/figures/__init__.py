"""Figures of a table: trained parameters against R@1, and the course of training, with their spread over seeds."""

from __future__ import annotations

from petvr.report.figures.draw import KINDS, write_figures

__all__ = ["KINDS", "write_figures"]
