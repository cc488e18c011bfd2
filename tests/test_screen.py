"""Lists in a pipe are whole: no name is cut, no line wrapped."""

import re
import sys

import pytest

from petvr import cli


@pytest.mark.slow
def test_a_list_that_is_piped_is_not_cut(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert cli.main(["params"]) == 0
    text = capsys.readouterr().out
    assert "…" not in text and re.search(r"^cross_modal_adapter +table_\d+ .* coop@tokens=4 ", text, re.M)


def test_on_a_terminal_it_is_as_wide_as_that(monkeypatch):
    from petvr.screen import UNCUT, screen

    monkeypatch.setenv("COLUMNS", "72")
    assert screen().width == 72
    monkeypatch.delenv("COLUMNS")
    assert screen().width == UNCUT and not sys.stdout.isatty()
