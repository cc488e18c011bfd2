"""Reads a pickle that holds nothing but dicts, lists, texts and whole numbers; anything else in it is refused unread.

`pickle.load` runs what a file tells it to. This does not: the file is cut into opcodes by `pickletools`, which executes
nothing, and a short list of them is played on a stack of our own. There is no opcode here that finds a class, calls a
function or opens anything, and no memo slot costs memory before something is put into it.
"""

from __future__ import annotations

import io
import pickletools
from pathlib import Path
from typing import Any

from petvr.errors import PetvrError

LARGEST = 32_000_000  # bytes of a file; the published one holds 566,000 words
DEEPEST = 100  # marks that are open at once; a dict of lists of lists needs three
WAITING = 50_000  # values on the stack; pickle itself puts lists together by the thousand
CONSTANTS = {
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "STRING", "BINSTRING", "SHORT_BINSTRING",
}  # fmt: skip
EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list}
PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
GET = {"GET", "BINGET", "LONG_BINGET"}


def read_pickle(path: Path) -> Any:
    """The value in the file. Raises PetvrError, in one line, for a file that is missing, broken or holds more."""
    try:
        if path.stat().st_size > LARGEST:
            raise PetvrError(f"{path}: larger than {LARGEST:,} bytes, which no caption file is")
        data = path.read_bytes()
    except OSError as error:
        raise PetvrError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return _play(data, path)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise PetvrError(f"{path}: a broken pickle ({type(error).__name__}: {' '.join(str(error).split())})") from error


def _play(data: bytes, path: Path) -> Any:
    stack: list[Any] = []
    marks: list[int] = []  # heights of the stack where an opcode MARK came
    memo: dict[int, Any] = {}
    argument: Any  # of the type that its opcode says
    for opcode, argument, position in pickletools.genops(io.BytesIO(data)):
        name = opcode.name
        if name in CONSTANTS:
            stack.append(_text(argument) if name.endswith("STRING") else _constant(argument))
        elif name in EMPTY:
            stack.append(EMPTY[name]())
        elif name in PUT:
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in GET:
            stack.append(memo[argument])
        elif name == "MARK":
            marks.append(len(stack))
        elif name in ("LIST", "DICT", "APPENDS", "SETITEMS"):
            _close(name, stack, marks.pop())
        elif name == "APPEND":
            item = stack.pop()
            _of(list, stack[-1]).append(item)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _of(dict, stack[-1])[key] = value
        elif name == "STOP":
            if len(stack) != 1 or marks:
                raise ValueError("it ends with other than one value")
            return stack[0]
        elif name not in ("PROTO", "FRAME"):
            raise PetvrError(
                f"{path}: refused at byte {position} ({name}): of a pickle only dicts, lists, texts and whole numbers "
                "are read, since anything else could run code of whoever made the file"
            )
        if len(marks) > DEEPEST or len(stack) > WAITING:
            raise PetvrError(f"{path}: refused at byte {position}: a pickle nested too deeply for a caption file")
    raise ValueError("it ends without STOP")


def _close(name: str, stack: list[Any], start: int) -> None:
    """What lies above a mark becomes a list or dict, or goes into the one below the mark."""
    items = stack[start:]
    del stack[start:]
    if name in ("DICT", "SETITEMS"):
        if len(items) % 2:
            raise ValueError("a dict with a key that has no value")
        pairs = dict(zip(items[::2], items[1::2], strict=True))
        stack.append(pairs) if name == "DICT" else _of(dict, stack[-1]).update(pairs)
    else:
        stack.append(items) if name == "LIST" else _of(list, stack[-1]).extend(items)


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} has to be")
    return value


def _constant(value: Any) -> Any:
    if type(value) not in (str, int):  # INT also writes True and False
        raise TypeError(f"a {type(value).__name__}")
    if type(value) is str:
        value.encode()  # protocol 2 and later let half a surrogate pair pass, which nobody can write
    return value


def _text(value: str) -> str:
    """Bytes of Python 2, which `pickletools` hands over as Latin-1: UTF-8 where they are that, else Latin-1."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
