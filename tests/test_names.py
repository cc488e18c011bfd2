"""Names a reader can trust: a class exists once, a function says what it works on, a variable what it holds."""

import ast
import functools
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
VERBS = {"build", "run", "read", "check", "load", "put", "take", "get"}  # of what?
VAGUE = {"found", "told", "made", "here"}


@functools.cache
def trees() -> dict[Path, ast.Module]:
    files = sorted(path for path in SOURCE.rglob("*.py") if "build" not in path.parts)  # a wheel's build leaves copies
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in files}


@functools.cache
def nodes() -> list[tuple[str, ast.AST]]:
    """Every node of every file's syntax tree, with the file's name."""
    return [(path.relative_to(SOURCE).as_posix(), node) for path, tree in trees().items() for node in ast.walk(tree)]


def test_a_class_name_exists_once():
    where: dict[str, list[str]] = {}
    for file, node in nodes():
        if isinstance(node, ast.ClassDef):
            where.setdefault(node.name, []).append(file)
    assert {name: files for name, files in where.items() if len(files) > 1} == {}


def test_a_function_says_of_what():
    """A method may be a bare verb (its class says of what), and `run` is what every file of a command offers."""
    bare = []
    for path, tree in trees().items():
        for node in tree.body:
            command = path.parent.name == "commands" and getattr(node, "name", "") == "run"
            if isinstance(node, ast.FunctionDef) and node.name in VERBS and not command:
                bare.append(f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}")
    assert bare == []


def test_a_variable_says_what_it_holds():
    vague = []
    for file, node in nodes():
        name = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else ""
        name = node.arg if isinstance(node, ast.arg) else name
        if name in VAGUE:
            vague.append(f"{file}:{node.lineno} {name}")
    assert vague == []
