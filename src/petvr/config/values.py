"""What a key of the configuration may hold: names, files and folders, addresses, each refused in words of ours."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator


def _names(value: Any) -> Any:
    if value == "all" or (_is_list_of_names(value) and value):
        return value
    raise ValueError("must be all or a list of names, each once")


def _flag_or_names(value: Any) -> Any:
    if isinstance(value, bool) or _is_list_of_names(value):
        return value
    raise ValueError("must be true, false or a list of names, each once")


def _is_list_of_names(value: Any) -> bool:
    named = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return named and "all" not in value and len(set(value)) == len(value)


def _text(value: str) -> str:
    if value.strip():
        return value
    raise ValueError("must not be empty")


def _file_name(value: Any) -> Any:
    """An empty path would be the working folder, `~` a folder of that name; what no file system takes would be found
    out amid a run."""
    if isinstance(value, str | Path) and (not str(value).strip() or re.search("[\0-\x1f\x7f]", str(value))):
        raise ValueError("must be the name of a file or folder")
    if isinstance(value, str | Path) and Path(value).parts[:1] and Path(value).parts[0].startswith("~"):
        raise ValueError("`~` is not read as a home folder; write the whole path")
    if isinstance(value, str | Path) and any(len(os.fsencode(part)) > 255 for part in Path(value).parts):
        raise ValueError("a name of more than 255 bytes, which no file system takes")
    return value


def _folder_name(value: Any) -> Any:
    if isinstance(_file_name(value), str | Path):
        there = next((path for path in (Path(value), *Path(value).parents) if os.path.lexists(path)), Path())
        if not there.is_dir():
            raise ValueError("is there and is no folder" if there == Path(value) else f"{there} is no folder")
    return value


def _no_wildcard(value: Path) -> Path:
    if set("{}") & set(str(value)):
        raise ValueError("braces in a path that the workflow writes to are wildcards to Snakemake")
    return value


def _store_address(value: str) -> str:
    if re.fullmatch(r"default|databricks|(https?|file|sqlite|postgresql|mysql|mssql)(\+\w+)?://\S.*", value):
        return value
    raise ValueError("must be default or what MLflow takes: http://HOST:PORT, sqlite:////FILE, postgresql://...")


def _dataset_name(value: str) -> str:
    if re.fullmatch("[a-z][a-z0-9]*", value) and value != "all":
        return value
    raise ValueError("the name of a data set must be lower-case letters and digits, a letter first, other than `all`")


def _backbone_name(value: str) -> str:
    if re.fullmatch("[a-z0-9-]+", value):
        return value
    raise ValueError("the name of a backbone must be lower-case letters, digits and hyphens")


Text = Annotated[str, AfterValidator(_text)]
File = Annotated[Path, BeforeValidator(_file_name)]
Folder = Annotated[Path, BeforeValidator(_folder_name)]
WorkFolder = Annotated[Folder, AfterValidator(_no_wildcard)]  # what rules name as their output
Names = Annotated[Any, BeforeValidator(_names)]  # "all" or list[str]
Some = Annotated[Any, BeforeValidator(_flag_or_names)]  # bool or list[str]
DatasetName = Annotated[str, AfterValidator(_dataset_name)]
BackboneName = Annotated[str, AfterValidator(_backbone_name)]
StoreAddress = Annotated[str, AfterValidator(_store_address)]
