"""The pages that tie everything together: results/index.html and results/figures/index.html, links all relative."""

from __future__ import annotations

from petvr.report.site.pages import write_figure_index, write_front_page

__all__ = ["write_figure_index", "write_front_page"]
