"""A docstring taken apart: first sentence, title, citation, formula, and what it says is not known."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

OPEN = re.compile(
    r"[Gg]uess|[Uu]nknown|\bnot (said|given|public)\b|does not (say|give)|\bfits? (no|two)\b|disagree|\bdiffer\b"
)
CITATION = re.compile(r"([A-Z]\w+(?: & \w+| et al\.)) \[(\d{4})|\[([A-Z][\w ]*(?:& \w+|et al\.) \d{4})")
END = re.compile(r"(?<=[A-Za-z0-9)\]*\"`%])\. (?=[A-Z`\"(])")
GENERAL = {"CLIP", "CLIP4Clip", "VoP", "RAP", "MV-Adapter", "Cross-Modal"}  # named everywhere
MARKS = str.maketrans({"*": r"\*", "<": "&lt;", "|": r"\|"})


@dataclass(frozen=True)
class Docstring:
    """title: what stands before the first comma, colon or bracket; formula: the first indented lines as they stand."""

    title: str
    head: str
    citation: str
    formula: str
    open: tuple[str, ...]


def read_docstring(path: Path) -> Docstring:
    """The docstring of a file, which is not imported."""
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem
    blocks = doc.split("\n\n")
    prose = [" ".join(block.split()) for block in blocks if not block.startswith(" ")]
    said = [sentence for block in prose for sentence in sentences(block)]
    cited = CITATION.search(" ".join(prose))
    citation = "" if cited is None else cited[3] or f"{cited[1]} {cited[2]}"
    formula = next((block for block in blocks if block.startswith("    ")), "")
    title = re.split(r" \[|: |, | \(| on a |\. ", said[0].removesuffix("."), maxsplit=1)[0]
    return Docstring(title, said[0], citation, formula, tuple(each for each in said[1:] if OPEN.search(each)))


def sentences(paragraph: str) -> list[str]:
    """Each with its full stop."""
    parts = [part.strip() for part in END.split(paragraph)]
    return [part if part.endswith((".", ":")) else f"{part}." for part in parts if part]


def mentions(title: str, bullets: str) -> list[str]:
    """The list entries of a Markdown text that name what a title names; names are its words with inner capitals."""
    words = [word.removesuffix("'s") for word in title.split()]
    names = [re.escape(word) for word in words if len(re.findall("[A-Z]", word)) > 1 and word not in GENERAL]
    if not names:
        return []
    named = re.compile(rf"(?<![\w^-])({'|'.join(names)})(?![\w^-])")
    entries = (" ".join(entry.split()) for entry in re.split(r"^- ", bullets, flags=re.M)[1:])
    return [entry for entry in entries if named.search(entry)]


def escape_markdown(words: str) -> str:
    """Words as they are, where Markdown would take a star, an angle or a bar for one of its own."""
    return words.translate(MARKS)
