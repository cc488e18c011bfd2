"""The one reader of NumPy's files: no pickle is loaded, no pipe waited for, and what is no array is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from petvr.errors import PetvrError, first_line
from petvr.text_files import is_pipe_or_device

ARRAY, ARCHIVE = b"\x93NUMPY", b"PK"  # how a .npy and an .npz file begin


def read_array(path: Path, mapped: Literal["r", "c"] | None = None) -> Any:
    """The array of a .npy file, memory-mapped where asked for.

    Raises PetvrError for another kind of file, one that is cut short, and one that holds more than its array.
    """
    import numpy as np  # not while the workflow is parsed

    try:
        with _opened(path, ARRAY) as stream:
            array: Any = np.load(path, mapped, False) if mapped else np.load(stream, allow_pickle=False)
            if mapped:
                stream.seek(array.offset + array.nbytes)
            if stream.read(1):
                raise ValueError("something stands behind its array")
    except PetvrError:
        raise
    except FileNotFoundError as error:
        raise PetvrError(f"{path}: no such file") from error
    except Exception as error:  # whatever a damaged header makes NumPy say
        raise PetvrError(f"{path}: not a .npy file of numbers ({_said(error)})") from error
    return array


def read_arrays(path: Path, *names: str) -> list[Any]:
    """Arrays of an .npz file by their names. Raises PetvrError as `read_array` does, and for a name that it lacks."""
    import numpy as np

    try:
        with _opened(path, ARCHIVE) as stream, np.load(stream, allow_pickle=False) as archive:
            return [archive[name] for name in names]
    except PetvrError:
        raise
    except Exception as error:  # also what zipfile and zlib say
        raise PetvrError(f"{path}: cannot be read ({_said(error)}); delete the run and train it again") from error


def _opened(path: Path, begins: bytes) -> Any:
    if path.exists() and (is_pipe_or_device(path) or path.is_dir()):
        raise PetvrError(f"{path}: not a file")
    stream = open(path, "rb")  # noqa: SIM115 closed by who asks
    start = stream.read(len(begins))
    stream.seek(0)
    if start != begins:
        stream.close()
        raise ValueError("an archive of arrays" if start.startswith(ARCHIVE) else "its first bytes are not NumPy's")
    return stream


def _said(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or first_line(error)
