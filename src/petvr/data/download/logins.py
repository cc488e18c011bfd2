"""Names and passwords: from two environment variables or from netrc, for one host, and shown nowhere."""

from __future__ import annotations

import netrc
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from petvr.data.datasets.source import Login
from petvr.data.download.failures import LoginRequired


@dataclass(frozen=True)
class Credentials:
    """Sent to `machine` alone, and never over plain http once the declared address was https."""

    machine: str
    user: str = field(repr=False)
    password: str = field(repr=False)

    def may_go_to(self, url: str, first: str) -> bool:
        """Whether `url` may be sent them, `first` being the declared address that led to it."""
        address, declared = urlsplit(url), urlsplit(first)
        same_port = (address.port, address.scheme) == (declared.port, declared.scheme)
        return address.hostname == self.machine and (same_port or (address.scheme == "https" and address.port is None))


def find_credentials(login: Login) -> Credentials:
    """The credentials of a login. Raises LoginRequired, which names the variables and the netrc machine."""
    user, password = (os.environ.get(name) for name in (login.user_variable, login.password_variable))
    if user and password:
        return Credentials(login.machine, user, password)
    entry = _netrc_entry(login.machine)
    if entry is None:
        raise LoginRequired(
            f"{login.machine} asks for a login: set {login.user_variable} and {login.password_variable}, "
            f"or write 'machine {login.machine}' into ~/.netrc"
        )
    return Credentials(login.machine, *entry)


def _netrc_entry(machine: str) -> tuple[str, str] | None:
    path = Path(
        os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    )  # Path.home() raises for a user without a home
    if not path.is_file():
        return None
    try:
        entry = netrc.netrc(str(path)).hosts.get(machine)
    except netrc.NetrcParseError as error:  # its text may quote a password
        raise LoginRequired(f"{path}: line {error.lineno} cannot be understood") from None
    except (OSError, UnicodeDecodeError):
        raise LoginRequired(f"{path}: cannot be read") from None
    return (entry[0], entry[2]) if entry and entry[0] and entry[2] else None
