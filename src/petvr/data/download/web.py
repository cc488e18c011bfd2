"""One request: redirects followed by hand so that credentials stay with their host, answers sorted."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx2

from petvr import __version__
from petvr.data.download import logins
from petvr.data.download.failures import LoginRequired, MirrorFailed, RetryLater
from petvr.data.download.retry import RetryPolicy, retry_after

logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs each address in full, also signed ones
REDIRECTS = {301, 302, 303, 307, 308}
HOPS = 10
MAY_PASS = {408, 409, 423, 425, 429}


def shown(url: str) -> str:
    """A declared address as it is printed and noted: without user and password. Where it led to is never shown."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with contextlib.suppress(ValueError):
        host += f":{parts.port}" if parts.port else ""
    return urlunsplit((parts.scheme, host, parts.path, parts.query, ""))


def readable_address(url: str, said: str, base: str = "") -> str:
    """`url`, seen from `base`. Raises MirrorFailed, beginning with `said`, for what urllib takes for no address."""
    try:
        joined = urljoin(base, url)
        _ = urlsplit(joined).port
    except ValueError:
        raise MirrorFailed(f"{said}: leads to an address that cannot be read") from None
    return joined


class Web:
    """A connection pool for many threads. Proxies come from the environment, credentials from the caller."""

    def __init__(self, retry: RetryPolicy):
        self.retry = retry
        self._unreachable: set[str] = set()
        self._guard = threading.Lock()
        wait = httpx2.Timeout(retry.read, connect=retry.connect)
        headers = {"User-Agent": f"petvr/{__version__}", "Accept-Encoding": "identity"}
        self.client = httpx2.Client(timeout=wait, headers=headers, limits=httpx2.Limits(max_connections=64))

    def close(self) -> None:
        self.client.close()

    def tries(self, url: str) -> int | None:
        """1 for a host that no attempt reached before, so that a machine without network is not tried for minutes."""
        return 1 if urlsplit(url).hostname in self._unreachable else None

    def give_up(self, url: str) -> None:
        with self._guard:
            self._unreachable.add(urlsplit(url).hostname or "")

    @contextlib.contextmanager
    def get(
        self, url: str, headers: dict[str, str], credentials: logins.Credentials | None = None
    ) -> Iterator[httpx2.Response]:
        """The streamed answer to a GET: status 200, 206 or 416, content not encoded.

        Raises MirrorFailed, LoginRequired or RetryLater, whose texts hold the address without its secrets.
        """
        try:
            with contextlib.closing(self._follow(url, headers, credentials)) as response:
                self._judge(response, url, credentials)
                yield response
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise MirrorFailed(f"{shown(url)}: not an address that can be opened") from error
        except httpx2.ConnectError as error:
            raise NoConnection(f"{shown(url)}: no connection ({_short(error)})", tries=3) from None
        except httpx2.TimeoutException:
            raise RetryLater(f"{shown(url)}: no answer in time") from None
        except httpx2.TransportError as error:
            raise RetryLater(f"{shown(url)}: connection broken ({_short(error)})") from None

    def _follow(self, url: str, headers: dict[str, str], credentials: logins.Credentials | None) -> httpx2.Response:
        address = url
        for _ in range(HOPS):
            if urlsplit(address).scheme not in ("http", "https"):
                raise MirrorFailed(f"{shown(url)}: leads to an address that is neither http nor https")
            request = self.client.build_request("GET", address, headers=headers)
            auth = None
            if credentials and credentials.may_go_to(str(request.url), url):
                auth = httpx2.BasicAuth(credentials.user, credentials.password)
            response = self.client.send(request, stream=True, auth=auth, follow_redirects=False)
            target = response.headers.get("location")
            if response.status_code not in REDIRECTS or not target:
                return response
            response.close()
            address = readable_address(target, shown(url), address)
        raise MirrorFailed(f"{shown(url)}: redirected more than {HOPS} times")

    def _judge(self, response: httpx2.Response, url: str, credentials: logins.Credentials | None) -> None:
        status = response.status_code
        if status in (200, 206, 416):
            if response.headers.get("content-encoding", "identity") not in ("identity", ""):
                raise MirrorFailed(f"{shown(url)}: sends its files compressed, so that no size or checksum can be told")
            return
        said = f"{shown(url)}: HTTP {status}"
        if status == 401 or (status == 403 and credentials):
            raise LoginRequired(f"{said}: {'the name or password was refused' if credentials else 'asks for a login'}")
        if status in MAY_PASS or status >= 500:
            raise RetryLater(said, retry_after(response.headers.get("retry-after")))
        raise MirrorFailed(said)


class NoConnection(RetryLater):
    """Nobody answers at all."""


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
