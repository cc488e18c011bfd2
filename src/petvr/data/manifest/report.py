"""`petvr data status` on the screen: one line per data set, and below what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petvr.data.datasets.base import SPLITS, Dataset
from petvr.data.manifest.state import DatasetStatus
from petvr.data.manifest.summary_text import unusable_lines
from petvr.screen import screen

KINDS = {"A": "green", "B": "green", "C": "yellow", "D": "red"}


def show(states: Sequence[DatasetStatus]) -> None:
    console = screen()
    console.print(_grid(states))
    for state in states:
        for line in unusable_lines(state.left):
            console.print(f"{state.name}: {line}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        if state.problem:
            console.print(f"{state.name}: {state.problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    width = max((len(state.name) for state in states), default=0)
    console.print("\nnext", style="bold")
    for state in states:
        console.print(f"  {state.name:<{width}}  {state.next}", markup=False, highlight=False, soft_wrap=True)


def _grid(states: Sequence[DatasetStatus]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))  # 80 columns hold it
    for name in ("data set", "files", *SPLITS, "stores", "class", "lock"):
        grid.add_column(name, justify="left" if name in ("data set", "lock") else "right", no_wrap=True)
    for state in states:
        splits = [_part(*state.videos[split]) if split in state.videos else Text("–") for split in SPLITS]
        kind = Text(state.kind or "–", style=KINDS.get(state.kind, ""))
        stores = _part(*state.stores) if state.stores[1] else Text("–")
        grid.add_row(state.name, _part(*state.annotations), *splits, stores, kind, state.lock)
    return grid


def _part(have: int, of: int) -> Any:
    from rich.text import Text

    style = "green" if have == of else "yellow" if have else "red"
    return Text(f"{have:,}/{of:,}" if have != of else f"{of:,}", style=style)


def sources(dataset: Dataset, console: Any = None) -> None:
    """Where its files come from, as its file declares it; for a data set that was asked for by name."""
    console = console or screen()
    if dataset.sources:
        console.print(f"\nsources of {dataset.name} (petvr download --list {dataset.name} says more)", style="bold")
    said: dict[str, None] = {}
    for source in dataset.sources:
        addresses = [mirror.url or f"one {mirror.kind} address per video" for mirror in source.mirrors]
        where = ", else ".join(addresses) or "by hand"
        console.print(f"  {source.key}: {where}", markup=False, highlight=False, soft_wrap=True)
        said |= dict.fromkeys([*source.pages, *([source.by_hand] if source.by_hand else [])])
    for line in said:
        console.print(f"  {line}", style="dim", markup=False, highlight=False, soft_wrap=True)
