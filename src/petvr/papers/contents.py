"""contents.yaml: what a paper has to be cited, and the check that a citation names nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field

from petvr import errors

CITATION = re.compile(
    r"\b(section|appendix|table|figure|equation|algorithm)(?:s|ices)? ((?:\d|[A-Z]\b)[\w.]*(?:(?:, | and )\d[\w.]*)*)"
)


class Contents(BaseModel):
    """contents.yaml: the sections, tables, figures and equations of the text at hand."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sections: dict[str, str] = Field(description="number, or letter of an appendix -> heading")
    tables: list[str] = Field(description='their numbers, with letters where parts are cited: "6", "6a"')
    figures: int = Field(description="how many")
    equations: int = Field(description="how many are numbered")
    algorithms: int = Field(default=0, description="how many")

    def check(self, where: str, place: str) -> None:
        """Raises PetvrError, which begins with `place`, where the text cites what the paper does not have."""
        numbered = {"figure": self.figures, "equation": self.equations, "algorithm": self.algorithms}
        for kind, number in cited(where):
            known = self.sections if kind in ("section", "appendix") else self.tables
            if kind in numbered:
                known = list(map(str, range(1, numbered[kind] + 1)))
            if number not in known:
                raise errors.unknown(kind, number, known, place)


def cited(where: str) -> Iterator[tuple[str, str]]:
    """`section 3.3, tables 6a and 10` -> ("section", "3.3"), ("table", "6a"), ("table", "10")"""
    for kind, numbers in CITATION.findall(where):
        yield from ((kind, number.rstrip(".")) for number in re.split(", | and ", numbers))
