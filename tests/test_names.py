"""Names a reader can trust: a class exists once, a function says what it works on, a variable what it holds."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
WINGS = ("data", "report")
VERBS = {"build", "run", "read", "check", "load", "put", "take", "get"}  # of what?
VAGUE = {"found", "told", "made"}

# What is still to be renamed; these numbers only ever go down.
VERBS_LEFT: dict[str, int] = {}
VAGUE_LEFT: dict[str, int] = {
    "commands": 1,
}


def modules() -> Iterator[tuple[str, Path, ast.Module]]:
    """Package, file and syntax tree of every module."""
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        inside = parts[1:-1] if parts[0] == "petvr" else ("executor",)
        depth = 2 if inside and inside[0] in WINGS else 1
        yield ".".join(inside[:depth]) or "petvr", path, ast.parse(path.read_text(encoding="utf-8"))


def is_protocol(package: str, name: str) -> bool:
    """`run` of a command, `build` of a method's or a similarity's file: what every file of its folder offers."""
    return (package, name) == ("commands", "run") or (package in ("methods", "similarity") and name == "build")


def test_a_class_name_exists_once():
    where: dict[str, list[str]] = {}
    for _, path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                where.setdefault(node.name, []).append(path.relative_to(SOURCE).as_posix())
    twice = {name: files for name, files in where.items() if len(files) > 1}
    assert not twice


def bare_verbs() -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for package, path, tree in modules():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name in VERBS and not is_protocol(package, node.name):
                named.setdefault(package, []).append(f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}")
    return named


def vague_variables() -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for package, path, tree in modules():
        for node in ast.walk(tree):
            name = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else ""
            name = node.arg if isinstance(node, ast.arg) else name
            if name in VAGUE:
                named.setdefault(package, []).append(f"{path.relative_to(SOURCE)}:{node.lineno} {name}")
    return named


@pytest.mark.parametrize(("left", "find"), [(VERBS_LEFT, bare_verbs), (VAGUE_LEFT, vague_variables)])
def test_a_function_says_of_what_and_a_variable_what(left, find):
    named = find()
    assert {package: names for package, names in named.items() if len(names) > left.get(package, 0)} == {}
