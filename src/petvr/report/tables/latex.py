"""A table as LaTeX with booktabs: compiles by itself, and may be \\input into a document that loads its packages."""

from __future__ import annotations

import re

from petvr.report.tables import caption, provenance, text
from petvr.report.tables.aggregate import Entry, MeasuredRow, MeasuredTable

# After \begin{document} LaTeX sets \@nodocument to \relax: then the preamble is skipped.
_PREAMBLE = r"""% packages: booktabs, xcolor, graphicx; compiles by itself, or \input it in a document that loads them
\expandafter\ifx\csname @nodocument\endcsname\relax\else
\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage{booktabs,xcolor,graphicx}
\usepackage[margin=1.5cm]{geometry}
\newcommand{\petvrtablealone}{}
\begin{document}
\pagestyle{empty}
\fi
"""
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
    "✓": r"$\approx$",
    "▲": r"$\bigtriangleup$",
    "▼": r"$\bigtriangledown$",
    "†": r"$^\dagger$",
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
    width = len(table.planned.columns)
    body = [r"\begin{table}[ht]", r"\centering", r"\small", rf"\caption{{{_caption(table)}}}"]
    body += [rf"\label{{tab:{re.sub('[^a-z0-9]+', '-', table.planned.id.lower())}}}", r"\resizebox{\linewidth}{!}{%"]
    body += [rf"\begin{{tabular}}{{l{'r' * width}l}}", r"\toprule", *_head(table), r"\midrule"]
    above = None
    for number, row in enumerate(table.rows):
        head = text.heading(row)
        if head != above and head:
            rule = [r"\addlinespace"] if number else []
            body += [*rule, rf"\multicolumn{{{width + 2}}}{{l}}{{\textit{{{escape(head)}}}}} \\"]
        above = head
        name = superscript(row.planned.name)
        cells = [name, *(_measured(row, entry) for entry in row.entries), escape(text.seeds(row))]
        body.append(" & ".join(cells) + r" \\")
        if text.has_printed(row):
            cells = [_pale(r"\quad paper"), *(_printed(entry) for entry in row.entries), ""]
            body.append(" & ".join(cells) + r" \\")
        for what, texts in text.more_lines(table, row):
            cells = [_pale(rf"\quad {superscript(what)}"), *(_pale(escape(each)) for each in texts), ""]
            body.append(" & ".join(cells) + r" \\")
    body += [r"\bottomrule", r"\end{tabular}}"]
    command = provenance.command(table)
    again = [f"Run one again: {command}"] if command else []
    said = [*caption.notes(table), *provenance.footer(table), *again]
    body += [r"\par\smallskip\raggedright\scriptsize", *(rf"{escape(note)}\par" for note in said), r"\end{table}"]
    return _PREAMBLE + "\n".join(body) + "\n" + _END


def _caption(table: MeasuredTable) -> str:
    title = escape(caption.title(table))
    return rf"\textbf{{{title}.}} {escape(' '.join(caption.caption(table)))}"


def _head(table: MeasuredTable) -> list[str]:
    lines = []
    for row in text.header_rows(table):
        lines.append(
            " & ".join(["", *(rf"\multicolumn{{{n}}}{{c}}{{{escape(name)}}}" for name, n in row), ""]) + r" \\"
        )
        start, rules = 2, []
        for name, n in row:
            if name:
                rules.append(rf"\cmidrule(lr){{{start}-{start + n - 1}}}")
            start += n
        lines.append("".join(rules))
    names = [escape(text.column_heading(column)) for column in table.planned.columns]
    return [*lines, " & ".join(["", *names, "Seeds"]) + r" \\"]


def _measured(row: MeasuredRow, entry: Entry) -> str:
    shown = escape(text.measured(entry))
    shown = {0: shown, 1: rf"\textbf{{{shown}}}", 2: rf"\underline{{{shown}}}"}[entry.rank]
    return shown + escape(text.class_mark(row, entry))


def _printed(entry: Entry) -> str:
    difference = text.compared(entry)
    shown = text.printed(entry) + (f" ({difference})" if difference else "")
    return _pale(escape(shown))


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
