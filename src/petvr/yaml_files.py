"""YAML as petvr reads it, wherever a person writes some: every key once, numbers as one would read them, no surprises.

A number is decimal (`010`, `0x8`, `1:30` and `1_000` are texts, `1e-4` is a number), only true and false are truth
values, a date is a text. Aliases may not span more than a file of that size could say.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from petvr.errors import PetvrError
from petvr.text_files import read_text

MOST_VALUES = 200_000  # that a file may stand for once its aliases are written out; the papers' have some 20,000
DEEPEST = 64
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_Base):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 filled below

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key has to be a word", problem_mark=key.start_mark)
            if (key.tag, key.value) in keys:
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{key.value}' stands there twice", problem_mark=key.start_mark
                )
            keys.add((key.tag, key.value))
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|\.(inf|Inf))|\.(nan|NaN)",
     "-+0123456789."),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", "<<", "<"),
):  # fmt: skip
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))


def read_yaml_file(path: Path) -> Any:
    """The value of a YAML file. Raises PetvrError with file and line."""
    return parse_yaml(read_text(path), str(path))


def parse_yaml(text: str, where: str) -> Any:
    try:
        _require_flat(text)
        loader = _StrictLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count_values(node, {})
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise PetvrError(f"{where}: not YAML: {_one_line(error)}") from error
    except ValueError as error:  # a number of thousands of digits, a broken float
        raise PetvrError(f"{where}: cannot be used ({error})") from error


def scalar(word: str) -> Any:
    """A word as YAML reads it where it has no quotes: `1e-4` is a number, `true` is true, `a: b` a text."""
    loader = _StrictLoader("")
    node = yaml.ScalarNode(loader.resolve(yaml.ScalarNode, word, (True, False)), word)
    try:
        return loader.construct_object(node)
    except (ValueError, yaml.YAMLError):  # a number of thousands of digits
        return word


def _one_line(error: yaml.YAMLError) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or not problem:
        return " ".join(str(error).split())
    tab = " (a tab? YAML is indented with blanks)" if "cannot start any token" in problem else ""
    return f"line {mark.line + 1}, column {mark.column + 1}: {' '.join(problem.split())}{tab}"


def _require_flat(text: str) -> None:
    """Before nodes are made of it: libyaml's composer ends the process where the nesting is deeper than its stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_StrictLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            mark: Any = event.start_mark  # the stubs know only the mark of the reader in Python
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=mark)


def _count_values(node: Any, counts: dict[int, int]) -> int:
    """How many values a node stands for, an alias as often as it is used. Each node is looked at once."""
    if id(node) in counts:
        if not counts[id(node)]:
            raise yaml.MarkedYAMLError(problem="an alias within what it names", problem_mark=node.start_mark)
        return counts[id(node)]
    counts[id(node)] = 0  # being counted
    children = node.value if isinstance(node, yaml.CollectionNode) else []
    parts = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
    total = 1 + sum(_count_values(part, counts) for part in parts)
    if total > MOST_VALUES:
        raise yaml.MarkedYAMLError(
            problem=f"aliases that stand for more than {MOST_VALUES:,} values", problem_mark=node.start_mark
        )
    counts[id(node)] = total
    return total
