"""A docstring taken apart: first sentence, title, citation, formula."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

CITATION = re.compile(r"([A-Z]\w+(?: & \w+| et al\.)) \[(\d{4})|\[([A-Z][\w ]*(?:& \w+|et al\.) \d{4})")
END = re.compile(r"(?<=[A-Za-z0-9)\]*\"`%])\. (?=[A-Z`\"(])")
MARKS = str.maketrans({"*": r"\*", "<": "&lt;", "|": r"\|"})


@dataclass(frozen=True)
class Docstring:
    """title: what stands before the first comma, colon or bracket; formula: the first indented lines as they stand."""

    title: str
    head: str
    citation: str
    formula: str


def read_docstring(path: Path) -> Docstring:
    """The docstring of a file, which is not imported."""
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem
    blocks = doc.split("\n\n")
    prose = [" ".join(block.split()) for block in blocks if not block.startswith(" ")]
    head = sentences(prose[0])[0]
    cited = CITATION.search(" ".join(prose))
    citation = "" if cited is None else cited[3] or f"{cited[1]} {cited[2]}"
    formula = next((block for block in blocks if block.startswith("    ")), "")
    title = re.split(r" \[|: |, | \(| on a |\. ", head.removesuffix("."), maxsplit=1)[0]
    return Docstring(title, head, citation, formula)


def sentences(paragraph: str) -> list[str]:
    """Each with its full stop."""
    parts = [part.strip() for part in END.split(paragraph)]
    return [part if part.endswith((".", ":")) else f"{part}." for part in parts if part]


def escape_markdown(words: str) -> str:
    """Words as they are, where Markdown would take a star, an angle or a bar for one of its own."""
    return words.translate(MARKS)
