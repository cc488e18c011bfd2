"""The one exception a user meets: a single line that names the file, the key and the allowed values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

LOGIN = re.compile(r"(\w://)[^/?#\s]*@|(?<=[?&;])(?i:[a-z_]*(?:password|passwd|token|secret|api_?key)=)[^&;\s'\"]+")

EXTRAS = {  # module that `pip install petvr` leaves out -> the extra that brings it
    "snakemake": "workflow",
    "snakemake_executor_plugin_submitit": "workflow",
    "httpx2": "workflow",
    "matplotlib": "workflow",
    "pandas": "workflow",
    "pyarrow": "workflow",
    "tenacity": "workflow",
    "mlflow": "mlflow",
    "sqlalchemy": "mlflow",
    "fastapi": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "yt_dlp": "youtube",
}


def without_secrets(text: str) -> str:
    """`text` with no user name or password in the addresses it holds, nor any in their queries."""
    return LOGIN.sub(lambda match: match[1] or match[0].partition("=")[0] + "=...", text)


def on_one_line(text: str) -> str:
    """Names of files and cells of tables may hold what ends a line or moves the cursor."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class PetvrError(Exception):
    """Bad input or a missing file; the command line prints it as one line and exits with code 2."""

    def __init__(self, message: object = "") -> None:
        super().__init__(on_one_line(without_secrets(str(message))))


def first_line(error: BaseException) -> str:
    """Of what another library said, the line that fits into ours; its type where it said nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def unknown(what: str, given: str, allowed: Iterable[str], where: str = "") -> PetvrError:
    """An error for a name that does not exist, with the nearest known one and the list of all."""
    allowed = sorted(set(map(str, allowed)))
    near = difflib.get_close_matches(str(given), allowed, n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    prefix = f"{where}: " if where else ""
    return PetvrError(f"{prefix}unknown {what} '{given}'{hint}; allowed: {', '.join(allowed) or 'none'}")


KINDS = {  # how pydantic's names of mistakes begin -> what is needed instead
    "model": "keys with values",
    "dataclass": "keys with values",
    "dict": "keys with values",
    "list": "a list",
    "tuple": "a list",
    "string": "a text",
    "path": "a path",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false, without quotes",
}


def mistake_in_words(mistake: Mapping[str, Any], keys: Iterable[str] = ()) -> str:
    """One of pydantic's `errors()` as what is given and what is allowed; keys: those of the model that is needed."""
    kind, given = mistake["type"], f"{mistake['input']!r:.80}"
    if kind == "missing":
        return "is missing"
    if kind == "literal_error":
        allowed = mistake["ctx"]["expected"].replace(" or ", ", ").replace("'", "")
    elif needed := KINDS.get(kind.partition("_")[0]):
        allowed = f"{needed} ({', '.join(keys)})" if keys else needed
    else:  # a whole model that does not hold together says itself what is wrong
        return mistake["msg"].removeprefix("Value error, ") + (f", not {given}" if len(given) < 80 else "")
    return f"{given} given, allowed: {allowed}"


def missing_extra(what: str, error: BaseException) -> PetvrError | None:
    """What to install where `what` failed for want of a module of an extra; None where that is not why it failed."""
    module = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if module not in EXTRAS:
        return None
    return PetvrError(f"{what} needs {module}, which is not installed: pip install 'petvr[{EXTRAS[module]}]'")
