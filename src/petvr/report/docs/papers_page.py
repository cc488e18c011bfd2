"""docs/papers.md: what the files of a paper's folder hold, from the schema that reads them."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel

from petvr import papers
from petvr.papers import schema
from petvr.papers.claims import Claim, ClaimsFile
from petvr.papers.contents import Contents
from petvr.papers.figures import FiguresFile, FigureSpec, RowChoice
from petvr.papers.printed import PRINTED_COLUMNS
from petvr.papers.table import COSTS, METRICS
from petvr.spec import Origin, Recipe, allowed_values

INTRO = """\
# Papers

Written by `petvr docs papers` from the schema that reads these files; a test keeps it fresh. A paper is one folder in
[src/petvr/papers](../src/petvr/papers): copy the nearest one, change what differs, and nothing else has to know of it.

{files}
A folder that lacks one of them, an unknown key and a value that does not fit are told in one line with file and key.
The paper is then left out, and the others go on; only where no other is asked for is it an error.

| paper | title | year | seeds it names | tables |
| --- | --- | --- | --- | --- |
{papers}
## From nothing to a table

1. `recipe.yaml`: every field of the [recipe](#fields-of-a-recipe) once under `base`, then the [rules](#rule) by which
   data sets and methods differ, of those in its tables. Each value says where it comes from: {origins}.
2. `tables.yaml`: one [table](#table) after another, row by row. A row names a method of `petvr params` and its setting;
   rows that several tables share are YAML anchors under `blocks`.
3. `printed.csv`: one line for every number. `petvr table` shows it beside ours, and a test finds numbers without a
   place in a table and places without a number.
4. `claims.yaml`: what the paper says about its numbers; `claims: []` where nothing is taken from it. Its rows have a
   printed number on the claim's data set.
5. `contents.yaml`: its sections, tables and figures; a value of origin `paper` that cites anything else is refused.
6. `open.md`: what the paper does not say.
7. `figures.yaml`, if it draws figures: which rows, which axes, which kind of drawing. `petvr figure --list` names them;
   every table has figures of its own besides (`{example}/table_1.scatter`).

`petvr plan` then counts its runs, `petvr params` compares its printed parameters (why no count meets one stands under
`counting.remarks`), `petvr table {example}/table_1 --show` prints a table before anything has run, and a run's id is
`{example}/msrvtt-9k/vit-b-32/lora@rank=8/seed-0`. A file with `papers: [{example}]`, laid over config.yaml by
`petvr -c FILE`, leaves the other papers out of what these commands show.

Some tests count what all papers hold together and are given the new numbers: those that fail in
`tests/papers/test_papers_tables.py`, `test_papers_plan.py` and `test_papers_recipes.py`.

A value and a rule in `recipe.yaml`:

```yaml
base:
  epochs: {{value: 5, origin: paper, where: "section 4.1"}}
rules:
- when: {{dataset: [msrvtt-9k], method: [full]}}
  set:
    epochs: {{value: 20, origin: guess, where: "not stated; CLIP4Clip's"}}
```

A table in `tables.yaml`, and two of its numbers in `printed.csv`:

```yaml
tables:
  table_1:
    title: Full tuning and ours
    datasets: [msrvtt-9k]
    backbone: vit-b-32
    columns: [params_M, "t2v: R@1 R@5", "v2t: R@1"]
    rows:
    - {{name: CLIP4Clip, method: full, setting: {{rule: clip4clip}}, note: fully fine-tuned, group: Baseline}}
    - {{name: Ours, method: lora, setting: {{rank: 8}}, group: Adapter}}
```

```text
{columns}
table_1,Ours,msrvtt-9k,none,params_M,0.49,,0.49M,,
table_1,Ours,msrvtt-9k,t2v,R@1,44.1,0.2,44.1±0.2,bold,
```
"""
MODELS: dict[type[BaseModel], str] = {  # in the order of the page
    schema.RecipeFile: "recipe.yaml",
    schema.SourcedValue: "value",
    schema.Rule: "rule",
    schema.Condition: "condition",
    schema.Counting: "counting",
    schema.TieCounting: "ties",
    schema.SettingSource: "source of a setting",
    Recipe: "fields of a recipe",
    schema.TablesFile: "tables.yaml",
    schema.TableSpec: "table",
    schema.RowSpec: "row",
    schema.OptionalSpec: "optional cell",
    schema.CellSpec: "cell",
    schema.Copied: "copied values",
    FiguresFile: "figures.yaml",
    FigureSpec: "figure",
    RowChoice: "rows of a table",
    ClaimsFile: "claims.yaml",
    Claim: "claim",
    Contents: "contents.yaml",
}
NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null", Any: "any"}


def papers_page() -> str:
    """The whole page."""
    listed = ""
    for name, paper in papers.readable().items():
        seeds = ", ".join(map(str, paper.seeds)) or "none"
        listed += f"| `{name}` | {paper.title} | {paper.year} | {seeds} | {len(paper.tables)} |\n"
    files = "".join(f"- `{name}`: {text}\n" for name, text in papers.FILES.items())
    origins = ", ".join(f"`{origin}`" for origin in typing.get_args(Origin))
    head = INTRO.format(files=files, papers=listed, origins=origins, columns=",".join(PRINTED_COLUMNS), example="fifth")
    csv = "## printed.csv\n\nUTF-8, one line for every printed number, these columns in any order.\n\n"
    csv += rows(("column", "meaning"), ((f"`{name}`", text) for name, text in PRINTED_COLUMNS.items()))
    return "\n".join([head, *map(section, MODELS), csv])


def section(model: type[BaseModel]) -> str:
    """A heading, the sentence of the class, and a line for every key."""
    lines = []
    for name, field in model.model_fields.items():
        if model is not schema.CellSpec and issubclass(model, schema.CellSpec) and _is_of_a_cell(model, name):
            continue
        # recipe.yaml sets every field of a recipe; its own default is that of results from before there was the field
        default = "required" if field.is_required() or model is Recipe else _default(field.default)
        literal = typing.get_origin(field.annotation) is Literal
        what = allowed_values(name) if model is Recipe and not literal else kind(field.annotation)
        lines.append((f"`{field.alias or name}`", what, default, field.description or ""))
    words = " ".join((model.__doc__ or "").split())
    if issubclass(model, schema.CellSpec) and model is not schema.CellSpec:
        words += f" Beside these keys it may have those of a [cell](#{anchor('cell')})."
    if model is schema.TableSpec:
        words += f" Metrics of a direction: {_codes(METRICS)}; columns of no direction: {_codes(COSTS)}."
    return f"## {MODELS[model]}\n\n{words}\n\n" + rows(("key", "type", "default", "meaning"), lines)


def _is_of_a_cell(model: type[BaseModel], name: str) -> bool:
    return name in schema.CellSpec.model_fields and name not in model.__annotations__


def kind(annotation: Any) -> str:
    """A type in words, with links to the sections of the page."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in MODELS:
        return f"[{MODELS[annotation]}](#{anchor(MODELS[annotation])})"
    if origin is Literal:
        return _codes(arguments)
    if origin in (types.UnionType, typing.Union):
        names = list(dict.fromkeys(map(kind, arguments)))
        return "any value" if len(names) > 3 else " or ".join(names)
    if origin is tuple and Ellipsis not in arguments:
        return f"list of {len(arguments)}: {', '.join(map(kind, arguments))}"
    if origin in (list, tuple):
        return f"list of {kind(arguments[0])}"
    if origin is dict:
        return f"{kind(arguments[0])} → {kind(arguments[1])}"
    return NAMES[annotation]


def _default(value: Any) -> str:
    if isinstance(value, BaseModel) or value in ({}, [], (), "", None):
        return ""
    if isinstance(value, tuple):
        return _codes(value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _codes(names: Iterable[Any]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def anchor(heading: str) -> str:
    return heading.replace(" ", "-").replace(".", "")


def rows(heading: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    escaped = [[cell.replace("|", r"\|") for cell in cells] for cells in [heading, ("---",) * len(heading), *lines]]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in escaped)
