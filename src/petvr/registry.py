"""A folder of files that declare one thing each, a method or a similarity: found by name, and read without an import.

Who asks for a name, a version or a default does not wait for torch: the constants of such a file (CONSTANTS) are
literals, and so is what it says of its settings in a class whose name ends in Settings:

    class LoraSettings(DeclaredSettings):
        rank: int = setting(8, "count", "makes RAP's printed 0.49 M", at_least=1)

An instance of that class, complete and checked, is what the code of the file is given. RULES tie settings together:
("specific", "specific <= tokens", "1 to tokens={tokens}") names those at fault, the condition, and what is allowed; a
condition may also name sizes of the CLIP (petvr.clip.config.settings_limits). NOT_WITH: method -> why not in one
composition. TUNE: the rates of what trains, ("lr_clip", "lr_head"), by default ("lr_new",); in place of a second rate a
setting with its values, {"lr_new": (), "setting.rank": (2, 4, 8)}: what petvr.tuning tries.
SEES_ORDER: how the order of a video's frames reaches what the file makes of them, in words; a file without it gives the
same for any order, which petvr.probes checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from petvr.declarations import (
    CONSTANTS,
    LARGEST,
    RATES,
    DeclaredFile,
    DeclaredSettings,
    Setting,
    axes_to_tune,
    check_rules,
    import_file,
    read_declarations,
    setting,
    typed_word,
)
from petvr.errors import PetvrError, unknown

__all__ = [
    "LARGEST", "RATES", "DeclaredFile", "DeclaredSettings", "Registry", "Setting", "import_file", "setting",
    "typed_word",
]  # fmt: skip


class Registry:
    """The files of a package that hold a `kind` each; names that begin with an underscore are no such files."""

    def __init__(self, kind: str, package: str, folder: Path) -> None:
        self.kind, self.package, self.folder = kind, package, folder

    def available(self) -> list[str]:
        return list(_names(self.folder, self.folder.stat().st_mtime_ns))

    @cache  # noqa: B019 registries live as long as the process
    def declared(self, name: str) -> DeclaredFile:
        """PetvrError for a name that no file has, with the nearest one, and for a file that cannot be read."""
        if name not in self.available():
            raise unknown(self.kind, name, self.available())
        path = self.folder / f"{name}.py"
        constants, settings = read_declarations(path)
        if "VERSION" not in constants:
            raise PetvrError(f"{path}: VERSION is missing: a whole number, raised when results change")
        for key, (fits, words) in CONSTANTS.items():
            if key in constants and not fits(constants[key]):
                raise PetvrError(f"{path}: {key}: {constants[key]!r:.60} given, allowed: {words}")
        for part in constants.get("PARTS", ()):
            if part == name or part not in self.available():
                raise unknown(self.kind, part, set(self.available()) - {name}, f"{path}: PARTS")
        parts = {part: self.declared(part) for part in constants.get("PARTS", ())}
        known = {key: one for part in parts.values() for key, one in part.settings.items()} | settings
        check_rules(path, constants.get("RULES", ()), known)
        return DeclaredFile(
            version=constants["VERSION"] + sum(part.version - 1 for part in parts.values()),
            identity=constants.get("IDENTITY", "none"),
            similarity=constants.get("SIMILARITY"),
            parts=tuple(parts),
            open=(*constants.get("OPEN", ()), *(point for part in parts.values() for point in part.open)),
            settings=known,
            rules=(*(rule for part in parts.values() for rule in part.rules), *constants.get("RULES", ())),
            not_with={name: why for part in parts.values() for name, why in part.not_with.items()}
            | constants.get("NOT_WITH", {}),
            tune=axes_to_tune(path, constants, parts, known),
            sees_order="; ".join(
                filter(None, [*(part.sees_order for part in parts.values()), constants.get("SEES_ORDER")])
            ),
        )

    def complete(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every setting, with its default where nothing is given. PetvrError for an unknown key or a bad value."""
        declared = self.declared(name)
        for key in given:
            if key not in declared.settings:
                raise unknown("setting", key, declared.settings, f"{self.kind} '{name}'")
        return declared.defaults | {key: self.checked(name, key, value) for key, value in given.items()}

    def checked(self, name: str, key: str, value: Any, limits: Mapping[str, int] | None = None) -> Any:
        return self.declared(name).settings[key].checked(value, f"{self.kind} '{name}': setting '{key}'", limits)

    def require_rules(self, name: str, complete: Mapping[str, Any], limits: Mapping[str, int]) -> None:
        """PetvrError for settings that may not be together, or with this CLIP as far as it is known."""
        known = {**limits, **complete}
        for keys, condition, allowed in self.declared(name).rules:
            code = compile(condition, f"{name}.py", "eval")
            if known.keys() >= set(code.co_names) and not eval(code, {"__builtins__": {}}, known):
                given = ", ".join(f"{key}={str(complete[key]).lower()}" for key in keys.split())
                given = given if " " in keys else f"setting '{keys}': {complete[keys]}"
                raise PetvrError(f"{self.kind} '{name}': {given} given, allowed: {allowed.format(**known)}")

    def module(self, name: str) -> ModuleType:
        """The file's code. PetvrError with file and line where it cannot be imported."""
        return import_file(f"{self.package}.{name}", self.folder / f"{name}.py")

    def typed(self, name: str, complete: Mapping[str, Any]) -> DeclaredSettings:
        """Complete settings as an instance of the file's class of settings."""
        module = self.module(name)
        own = (one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__)
        kind = next((one for one in own if issubclass(one, DeclaredSettings)), DeclaredSettings)
        return kind(**complete)


@cache
def _names(folder: Path, _changed: int) -> tuple[str, ...]:
    """Of the files in a folder, read again when the folder changed."""
    return tuple(sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")))
