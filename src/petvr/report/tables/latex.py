"""A table as LaTeX with booktabs: compiles by itself, and may be \\input into a document that loads its packages."""

from __future__ import annotations

import re

from petvr.report.tables import caption, provenance, text
from petvr.report.tables.aggregate import Entry, MeasuredRow, MeasuredTable

# After \begin{document} LaTeX sets \@nodocument to \relax: then the preamble is skipped.
_PREAMBLE = r"""%% packages: booktabs, xcolor, graphicx; compiles by itself, or \input it in a document that loads them
\expandafter\ifx\csname @nodocument\endcsname\relax\else
\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage{booktabs,xcolor,graphicx}
\usepackage[margin=1.5cm%s]{geometry}
\newcommand{\petvrtablealone}{}
\begin{document}
\pagestyle{empty}
\fi
"""
PORTRAIT = 7  # so many columns can be read on an upright page
LONG = 45  # lines of a table that stand upright whatever their width
# as wide as the line, unless a page is not high enough for that
_FITTED = (
    r"\dimen0=\ht2 \advance\dimen0 by \dp2",
    r"\ifdim\dimen0>0.52\textheight\resizebox*{!}{0.52\textheight}{\box2}\else\box2\fi",
)
_END = r"""\ifx\petvrtablealone\undefined\else\end{document}\fi
"""
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "✓": r"$\surd$",
    "✗": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "▲": r"$\bigtriangleup$",
    "▼": r"$\bigtriangledown$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "°": r"$^\circ$",
    "·": r"$\cdot$",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "ℓ": r"$\ell$",
    "α": r"$\alpha$",
    "τ": r"$\tau$",
    "’": "'",
    "…": r"\ldots{}",
}


def render(table: MeasuredTable) -> str:
    front, notes = text.front_headings(table), caption.notes(table)
    width, blank = len(table.columns) + len(front) - 1, [""] * (len(front) - 1)
    body = [r"\begin{table}[ht]", r"\centering", r"\small", rf"\caption{{{_caption(table)}}}"]
    body += [
        rf"\label{{tab:{re.sub('[^a-z0-9]+', '-', table.planned.id.lower())}}}",
        r"\setbox2=\hbox{\resizebox{\linewidth}{!}{%",
    ]
    aligned = "c" * (len(front) - 1) + "r" * len(table.columns)
    body += [rf"\begin{{tabular}}{{l{aligned}l}}", r"\toprule", *_head(table), r"\midrule"]
    above = None
    for number, (row, marks) in enumerate(zip(table.rows, notes.marks, strict=True)):
        head = text.heading(row)
        if head != above and head:
            rule = [r"\addlinespace"] if number else []
            body += [*rule, rf"\multicolumn{{{width + 2}}}{{l}}{{\textit{{{escape(head)}}}}} \\"]
        above = head
        name, *labels = map(superscript, text.front(table, row))
        name += rf"\,\textsuperscript{{{', '.join(map(str, marks))}}}" if marks else ""
        cells = [name, *labels, *(_measured(row, entry) for entry in row.entries), escape(text.seeds(row))]
        body.append(" & ".join(cells) + r" \\")
        if text.has_printed(row):
            cells = [_pale(r"\quad paper"), *blank, *(_printed(entry) for entry in row.entries), ""]
            body.append(" & ".join(cells) + r" \\")
        for what, texts in text.more_lines(table, row):
            cells = [_pale(rf"\quad {superscript(what)}"), *blank, *(_pale(escape(each)) for each in texts), ""]
            body.append(" & ".join(cells) + r" \\")
    body += [r"\bottomrule", r"\end{tabular}}}", *_FITTED]
    command = provenance.command(table)
    again = [f"Run one again: {command}"] if command else []
    said = [escape(note) for note in notes.general]
    said += [rf"\textsuperscript{{{number}}} {escape(note)}" for number, note in enumerate(notes.numbered, start=1)]
    said += [escape(sentence) for sentence in (*provenance.footer(table), *again)]
    body += [r"\par\smallskip\raggedright\scriptsize", *(rf"{sentence}\par" for sentence in said), r"\end{table}"]
    lines = sum(line.endswith(r"\\") for line in body)
    return _PREAMBLE % (",landscape" if width > PORTRAIT and lines <= LONG else "") + "\n".join(body) + "\n" + _END


def _caption(table: MeasuredTable) -> str:
    title = escape(caption.title(table))
    return rf"\textbf{{{title}.}} {escape(' '.join(caption.caption(table)))}"


def _head(table: MeasuredTable) -> list[str]:
    lines, front = [], [escape(name) for name in text.front_headings(table)]
    for row in text.header_rows(table):
        lines.append(
            " & ".join([*[""] * len(front), *(rf"\multicolumn{{{n}}}{{c}}{{{escape(name)}}}" for name, n in row), ""])
            + r" \\"
        )
        start, rules = len(front) + 1, []
        for name, n in row:
            if name:
                rules.append(rf"\cmidrule(lr){{{start}-{start + n - 1}}}")
            start += n
        lines.append("".join(rules))
    names = [escape(text.column_heading(column)) for column in table.columns]
    return [*lines, " & ".join([*front, *names, "Seeds"]) + r" \\"]


def _measured(row: MeasuredRow, entry: Entry) -> str:
    shown = escape(text.measured(entry))
    shown = {0: shown, 1: rf"\textbf{{{shown}}}", 2: rf"\underline{{{shown}}}"}[entry.rank]
    gain = text.gain(entry)
    return shown + escape(text.mark(row, entry)) + (f" {escape(gain)}" if gain else "")


def _printed(entry: Entry) -> str:
    shown, difference = escape(text.printed(entry)), text.compared(entry)
    command = {"bold": "textbf", "underline": "underline"}.get(text.emphasised(entry))
    shown = rf"\{command}{{{shown}}}" if command else shown
    return _pale(shown + (f" ({escape(difference)})" if difference else ""))


def _pale(latex: str) -> str:
    return rf"{{\scriptsize\color{{gray}}{latex}}}"


def superscript(name: str) -> str:
    """`VoP^F` as the papers print it."""
    base, *rest = re.split(r"\^([A-Za-z+]+)", name)
    out = escape(base)
    for index, part in enumerate(rest):
        out += escape(part) if index % 2 else rf"\textsuperscript{{{escape(part)}}}"
    return out


def escape(string: str) -> str:
    """Everything TeX would read as a command, and every character a plain pdflatex cannot print."""
    out = "".join(_SPECIAL.get(char, char) for char in " ".join(string.split()))
    out = out.replace("--", "-{}-") if "--" in string else out  # no ligature in command lines
    return "".join(char if ord(char) < 256 else "?" for char in out)
