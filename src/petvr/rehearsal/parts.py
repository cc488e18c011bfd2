"""What each part of the rehearsal found, in results/rehearsal/parts/<part>.json: parts that said yes are not asked
again while what they stand on is the same."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from petvr import atomic
from petvr.errors import PetvrError
from petvr.result import Rehearsed
from petvr.text_files import read_json, typed


class Answer(StrEnum):
    YES = "yes"
    NO = "no"
    OPEN = "not asked"  # could not be asked here; no reason to stop


@dataclass(frozen=True)
class Finding:
    """One question with its answer. `says` has the numbers; `remedy` what to do about a no."""

    asked: str
    answer: Answer
    says: str
    remedy: str = ""


@dataclass
class Part:
    """`stands_on`: digest of what its answers depend on; `facts`: what the page shows beside them."""

    name: str
    stands_on: str = ""
    findings: list[Finding] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, asked: str, good: bool | None, says: str, remedy: str = "") -> bool:
        """Note an answer; None is one that could not be had. Returns whether it is not a no."""
        answer = Answer.OPEN if good is None else Answer.YES if good else Answer.NO
        self.findings.append(Finding(asked, answer, says, remedy if answer is Answer.NO else ""))
        return answer is not Answer.NO

    @property
    def refusals(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.answer is Answer.NO]

    def write(self, folder: Path) -> None:
        atomic.write_json(folder / f"{self.name}.json", atomic.sealed(asdict(self)))


def read_part(folder: Path, name: str) -> Part | None:
    """None where it was not asked yet, or its file is damaged or another version's."""
    path = folder / f"{name}.json"
    try:
        part = typed(Part, atomic.unsealed(read_json(path, dict), path), path)
    except PetvrError:
        return None
    return part if part.name == name else None


def asked_part(folder: Path, name: str, stands_on: object, ask: Callable[[Part], None]) -> tuple[Part, bool]:
    """The part, and whether it was asked now: one that said no is, and one that stood on something else.

    A PetvrError is the answer no to whatever could not be asked for it.
    """
    digest = digest_of(stands_on)
    kept = read_part(folder, name)
    if kept is not None and kept.stands_on == digest and not kept.refusals:
        return kept, False
    part, started = Part(name, digest), time.monotonic()
    try:
        ask(part)
    except PetvrError as error:
        part.add("can it be asked at all?", False, str(error), "mend what it names and rehearse again")
    part.seconds = round(time.monotonic() - started, 1)
    part.write(folder)
    return part, True


def digest_of(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def verdict(parts: Iterable[Part]) -> dict[str, Any]:
    """What results carry: a digest of every answer and fact (not of times), and what said no."""
    parts = list(parts)
    content = [[part.name, part.stands_on, [asdict(one) for one in part.findings], part.facts] for part in parts]
    refusals = [f"{part.name}: {finding.asked} {finding.says}" for part in parts for finding in part.refusals]
    return {"digest": digest_of(content), "go": not refusals, "refusals": refusals}


def read_verdict(path: Path) -> Rehearsed | None:
    """Of results/rehearsal/rehearsal.json; None where nothing was rehearsed. PetvrError for a file that is damaged: its
    results would say that nothing was.
    """
    if not path.exists():
        return None
    try:
        content = read_json(path, dict)
        verdict: Rehearsed = typed(Rehearsed, {key: content.get(key) for key in Rehearsed.model_fields}, path)
    except PetvrError as error:
        raise PetvrError(f"{error}; rehearse again: petvr rehearse page") from error
    return verdict
