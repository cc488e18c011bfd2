"""Names a reader can trust: a class exists once, a function says what it works on, a variable what it holds."""

import ast
import functools
import re
from collections import Counter
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
VERBS = {"build", "run", "read", "check", "load", "put", "take", "get"}  # of what?
VAGUE = {"found", "told", "made", "here"}


@functools.cache
def texts() -> dict[Path, str]:
    files = sorted(path for path in SOURCE.rglob("*.py") if "build" not in path.parts)  # a wheel's build leaves copies
    return {path.relative_to(SOURCE): path.read_text(encoding="utf-8") for path in files}


def trees(pattern: str) -> dict[Path, ast.Module]:
    """Syntax trees of the files in which a line matches: parsing and walking all of them takes seconds."""
    wanted = re.compile(pattern, re.MULTILINE)
    return {path: ast.parse(text) for path, text in texts().items() if wanted.search(text)}


def test_a_class_name_exists_once():
    lines = re.findall(r"^[ \t]*class (\w+)", "\n".join(texts().values()), re.MULTILINE)
    twice = [name for name, count in Counter(lines).items() if count > 1]  # some of them in docstrings
    where: dict[str, list[str]] = {}
    for path, tree in trees(rf"\bclass ({'|'.join(twice)})\b").items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                where.setdefault(node.name, []).append(path.as_posix())
    assert len(lines) > 100 and {name: files for name, files in where.items() if len(files) > 1} == {}


def test_a_function_says_of_what():
    """A method may be a bare verb (its class says of what), and `run` is what every file of a command offers."""
    bare = []
    for path, tree in trees(rf"^def ({'|'.join(VERBS)})\b").items():
        for node in tree.body:
            command = path.parent.name == "commands" and getattr(node, "name", "") == "run"
            if isinstance(node, ast.FunctionDef) and node.name in VERBS and not command:
                bare.append(f"{path}:{node.lineno} {node.name}")
    assert bare == []


def test_a_variable_says_what_it_holds():
    vague = []
    for path, tree in trees(rf"\b({'|'.join(VAGUE)})\b").items():
        for node in ast.walk(tree):
            name = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else ""
            name = node.arg if isinstance(node, ast.arg) else name
            if name in VAGUE:
                vague.append(f"{path}:{node.lineno} {name}")
    assert vague == []
