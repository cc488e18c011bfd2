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

import ast
import math
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, dataclass_transform, get_args

from petvr.errors import PetvrError, first_line, unknown
from petvr.spec import Origin

IDENTITIES = ("exact", "near", "none")


def _tuple_of(value: Any, kind: Callable[[Any], bool]) -> bool:
    return isinstance(value, tuple) and all(map(kind, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


CONSTANTS: dict[str, tuple[Callable[[Any], bool], str]] = {  # name -> whether a value will do, and what will in words
    "VERSION": (lambda one: type(one) is int and one >= 1, "a whole number, raised when results change"),
    "IDENTITY": (
        lambda one: (
            one in IDENTITIES
            or (isinstance(one, dict) and sorted(one) == ["text", "vision"] and set(one.values()) <= set(IDENTITIES))
        ),
        f"{', '.join(IDENTITIES)}, or one of these for each tower: {{'vision': .., 'text': ..}}",
    ),
    "SIMILARITY": (_is_text, "the name of a similarity"),
    "PARTS": (lambda one: _tuple_of(one, _is_text), "a tuple of names"),
    "OPEN": (lambda one: _tuple_of(one, _is_text), "a tuple of sentences"),
    "RULES": (
        lambda one: _tuple_of(one, lambda rule: _tuple_of(rule, _is_text) and len(rule) == 3),
        "a tuple of rules, each (settings at fault, condition, what is allowed)",
    ),
    "NOT_WITH": (lambda one: isinstance(one, dict), "{method: why not}"),
    "TUNE": (lambda one: isinstance(one, dict) or _tuple_of(one, _is_text), "a tuple of rates, or {rate: values}"),
    "SEES_ORDER": (_is_text, "a text"),
}
RATES = ("lr_clip", "lr_new", "lr_head")  # of CLIP's own parameters, of inserted ones, of the similarity's
LARGEST = 100_000  # whole number that a setting takes where its file declares no bound: no memory holds more
ORIGINS = tuple(origin for origin in get_args(Origin) if origin not in ("config", "tuned", "protocol"))


@dataclass(frozen=True)
class Setting:
    """One setting as its file declares it: the default, where that comes from, and what else it may be.

    origin: one of ORIGINS; "count" is a value that only meets a printed size. where: the section, the code, the size,
    or why it is a guess. at_most may name a size of the CLIP (petvr.clip.config.settings_limits) or another
    setting, which a rule of the file compares. Numbers are never negative.
    """

    default: bool | int | float | str
    origin: Origin
    where: str
    choices: tuple[int | str, ...] = ()
    at_least: float = 0
    at_most: float | str | None = None
    above: float | None = None
    below: float | None = None
    multiple_of: int = 1

    def allowed(self, limits: Mapping[str, int]) -> str:
        """In words; a size that `limits` does not know stands there by its name."""
        if self.choices:
            return ", ".join(map(str, self.choices))
        at_most = (
            self.at_most if isinstance(self.at_most, str) and self.at_most not in limits else self._at_most(limits)
        )
        if self.above is not None:
            words = f"more than {self.above:g}"
        elif self.below is not None:
            words = f"{self.at_least:g} to below {self.below:g}"
        else:
            words = (
                f"{self.at_least:g} or more" if at_most is None else f"{self.at_least:g} to {at_most}".replace("_", " ")
            )
        return words if self.multiple_of == 1 else f"{words}, a multiple of {self.multiple_of}"

    def checked(self, value: Any, where: str, limits: Mapping[str, int] | None = None) -> Any:
        """The value in the default's type. PetvrError, which begins with `where`, for one that is not allowed."""
        limits = limits or {}
        if isinstance(self.default, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(self.default):
            kind = type(self.default).__name__
            raise PetvrError(f"{where}: {value!r:.60} given, allowed: {kind} (default {self.default!r})")
        if self.choices and value not in self.choices:
            raise unknown("value", str(value), map(str, self.choices), where)
        if not self.choices and isinstance(value, int | float) and not self._in_bounds(value, limits):
            raise PetvrError(f"{where}: {value:g} given, allowed: {self.allowed(limits)}")
        if isinstance(value, int) and value > LARGEST:
            raise PetvrError(f"{where}: {value:.3g} given, allowed: {LARGEST:,} at most")
        return value

    def _at_most(self, limits: Mapping[str, int]) -> float | None:
        return limits.get(self.at_most) if isinstance(self.at_most, str) else self.at_most

    def _in_bounds(self, value: float, limits: Mapping[str, int]) -> bool:
        at_most = self._at_most(limits)
        return (
            math.isfinite(value)
            and value >= self.at_least
            and (at_most is None or value <= at_most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (self.multiple_of == 1 or value % self.multiple_of == 0)
        )


def typed_word(default: Any, word: str) -> Any:
    """A word of a run's id in the type of a setting's default; `checked` refuses one that is none."""
    if isinstance(default, bool):
        return {"true": True, "false": False}.get(word.lower(), word)
    if isinstance(default, str) or len(word) > 40:
        return word
    for kind in (type(default), lambda text: int(text, 0)):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def setting(default: Any, origin: Origin, where: str, **bounds: Any) -> Any:
    """A field of a class of settings; the arguments are Setting's, written as literals."""
    return field(default=default, metadata={"declared": Setting(default, origin, where, **bounds)})


@dataclass_transform(frozen_default=True, field_specifiers=(setting,))
class DeclaredSettings:
    """Base of the settings of a method or a similarity; a subclass is a frozen dataclass."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)


@dataclass(frozen=True)
class DeclaredFile:
    """What one file says of itself. With parts: their settings are its own, and its version rises with theirs."""

    version: int
    identity: str | dict[str, str]
    similarity: str | None
    parts: tuple[str, ...]
    open: tuple[str, ...]  # what no paper and no code says of it
    settings: dict[str, Setting]
    rules: tuple[tuple[str, str, str], ...]  # settings that are at fault, condition, what is allowed
    not_with: dict[str, str]
    tune: dict[str, tuple[bool | int | float | str, ...]]  # rate, or "setting.<key>" with its values: what is tuned
    sees_order: str  # "": it does not

    @property
    def defaults(self) -> dict[str, Any]:
        return {key: declared.default for key, declared in self.settings.items()}


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
        constants, settings = _literals(path)
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
        _check_rules(path, constants.get("RULES", ()), known)
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
            tune=_axes(path, constants, parts, known),
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


def import_file(module: str, path: Path) -> ModuleType:
    """The module of a file that somebody adds. PetvrError with file and line where its import fails."""
    try:
        return import_module(module)
    except PetvrError as error:
        raise PetvrError(f"{path}: {error}") from error
    except (
        ArithmeticError,
        AttributeError,
        ImportError,
        LookupError,
        NameError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:
        own = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else (own or [0])[-1]
        where = f"{path}: line {line}" if line else str(path)
        raise PetvrError(f"{where}: {type(error).__name__}: {first_line(error)}") from error


def _check_rules(path: Path, rules: tuple[tuple[str, str, str], ...], settings: Mapping[str, Setting]) -> None:
    for keys, condition, _ in rules:
        try:
            compile(condition, path.name, "eval")
        except SyntaxError as error:
            raise PetvrError(f"{path}: RULES: {condition!r} is no condition: {error.msg}") from error
        for key in keys.split():
            if key not in settings:
                raise unknown("setting", key, settings, f"{path}: RULES")


def _axes(
    path: Path, constants: Mapping[str, Any], parts: Mapping[str, DeclaredFile], settings: Mapping[str, Setting]
) -> dict[str, tuple[Any, ...]]:
    """What TUNE says, else the parts' axes, else the rate of what is inserted."""
    if "TUNE" not in constants:
        return {key: values for part in parts.values() for key, values in part.tune.items()} or {"lr_new": ()}
    given = constants["TUNE"]
    axes = given if isinstance(given, dict) else dict.fromkeys(given, ())
    for key, values in axes.items():
        if (key in RATES) == bool(values) or not (key in RATES or key.startswith("setting.")):
            raise PetvrError(f"{path}: TUNE: '{key}': allowed: {', '.join(RATES)}, or setting.<key> with its values")
        if values:
            if (bare := key.removeprefix("setting.")) not in settings:
                raise unknown("setting", bare, settings, f"{path}: TUNE")
            for value in values:
                settings[bare].checked(value, f"{path}: TUNE: '{key}'")
    return axes


def _literals(path: Path) -> tuple[dict[str, Any], dict[str, Setting]]:
    """A file's constants and its declared settings."""
    constants: dict[str, Any] = {}
    settings: dict[str, Setting] = {}
    node: ast.AST | None = None
    try:
        top = ast.parse(path.read_text(encoding="utf-8")).body
        classes = [node for node in top if isinstance(node, ast.ClassDef) and _declares_settings(node)]
        for node in (each for each in top if isinstance(each, ast.Assign | ast.AnnAssign)):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id in CONSTANTS and node.value is not None:
                constants[target.id] = _literal(node.value)
        for node in (field for each in classes for field in each.body):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                settings[node.target.id] = _setting(node.value)
    except SyntaxError as error:
        raise PetvrError(f"{path}: line {error.lineno}: {error.msg}") from error
    except (ValueError, TypeError, PetvrError) as error:
        raise PetvrError(f"{path}: line {getattr(node, 'lineno', 1)}: {error}") from error
    return constants, settings


def _declares_settings(node: ast.ClassDef) -> bool:
    """By its name, or as it derives from another such class."""
    return any(name.endswith("Settings") for name in (node.name, *(getattr(base, "id", "") for base in node.bases)))


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise ValueError(f"`{ast.unparse(node):.60}` is no literal: this file is read without being run") from error


def _setting(value: ast.expr | None) -> Setting:
    if not isinstance(value, ast.Call) or getattr(value.func, "id", "") != "setting":
        raise ValueError("a setting is declared as `name: type = setting(default, origin, where, ...)`")
    names = [one.name for one in fields(Setting)]
    keywords = {keyword.arg or "": _literal(keyword.value) for keyword in value.keywords}
    for name in keywords:
        if name not in names:
            raise unknown("argument", name, names, "setting()")
    given = dict(zip(names, map(_literal, value.args), strict=False)) | keywords
    if lacking := [name for name in ("default", "origin", "where") if name not in given]:
        raise ValueError(f"setting() lacks {', '.join(lacking)}: it is written setting(default, origin, where, ...)")
    declared = Setting(**given)
    if declared.origin not in ORIGINS:
        raise ValueError(f"origin '{declared.origin}' of a setting; allowed: {', '.join(ORIGINS)}")
    if not isinstance(declared.default, bool | int | float | str):
        raise ValueError(f"default {declared.default!r} of a setting; allowed: true or false, a number, a text")
    return declared
