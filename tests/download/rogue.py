"""An HTTP server on loopback whose files misbehave in the way each is told to."""

from __future__ import annotations

import base64
import hashlib
import http.server
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Seen:
    """A request as it arrived."""

    path: str
    range: str | None
    if_range: str | None
    authorization: str | None


@dataclass
class File:
    """What a path answers. `script` holds the answers of the first requests, after which the file is served well."""

    body: bytes = b""
    etag: str | None = ""  # "" means one made of the body, None none
    ranges: bool = True
    kind: str = "application/octet-stream"
    script: list[Callable[[Handler], None]] = field(default_factory=list)
    login: tuple[str, str] | None = None
    length: bool = True

    @property
    def tag(self) -> str | None:
        return f'"{hashlib.sha256(self.body).hexdigest()[:12]}"' if self.etag == "" else self.etag


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Rogue

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        named = ("Range", "If-Range", "Authorization")
        with self.server.guard:
            self.server.seen.append(Seen(self.path, *(self.headers.get(name) for name in named)))
            file = self.server.files.get(self.path)
            act = file.script.pop(0) if file and file.script else None
        if file is None:
            self.plain(404, b"not here")
        elif file.login and self.headers.get("Authorization") != _basic(file.login):
            self.plain(401, b"who are you")
        elif act:
            act(self)
        else:
            self.serve(file)

    def plain(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def serve(self, file: File, cut: int | None = None, drip: float = 0.0) -> None:
        """The file or the range asked for; `cut` closes the connection after so many bytes of this answer."""
        start = self.start_of(file)
        total = len(file.body)
        if start is not None and start >= total:
            self.plain(416, b"", Content_Range=f"bytes */{total}")
            return
        self.send_response(206 if start is not None else 200)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if file.tag:
            self.send_header("ETag", file.tag)
        self.send_header("Content-Type", file.kind)
        body = file.body[start or 0 :]
        if file.length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        for start_at in range(0, len(body[:cut]), 4096) if drip else [0]:
            self.wfile.write(body[:cut][start_at : start_at + 4096] if drip else body[:cut])
            time.sleep(drip)
        if cut is not None or not file.length:
            self.close_connection = True

    def start_of(self, file: File) -> int | None:
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if not match or not file.ranges:
            return None
        condition = self.headers.get("If-Range")
        return None if condition and condition != file.tag else int(match[1])


class Rogue(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), Handler)
        self.files: dict[str, File] = {}
        self.seen: list[Seen] = []
        self.guard = threading.Lock()
        self.host = host

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that are killed or give up are what these tests are about

    def url(self, path: str) -> str:
        return f"http://{self.host}:{self.server_port}{path}"

    def put(self, path: str, body: bytes = b"", *script: Callable[[Handler], None], **more: object) -> str:
        self.files[path] = File(body, script=list(script), **more)  # type: ignore[arg-type]
        return self.url(path)

    def asked(self, path: str) -> list[Seen]:
        return [one for one in self.seen if one.path == path]


def _basic(login: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


# what one answer may be
def status(code: int, **headers: str) -> Callable[[Handler], None]:
    return lambda handler: handler.plain(code, b"<html>no</html>", **headers)


def drop(after: int) -> Callable[[Handler], None]:
    return lambda handler: handler.serve(handler.server.files[handler.path], cut=after)


def hold(after: int, release: threading.Event) -> Callable[[Handler], None]:
    """So many bytes of the body, and the rest once the test says so."""

    def act(handler: Handler) -> None:
        body = handler.server.files[handler.path].body
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("ETag", str(handler.server.files[handler.path].tag))
        handler.end_headers()
        handler.wfile.write(body[:after])
        release.wait()
        handler.wfile.write(body[after:])

    return act


def page(text: bytes = b"<!DOCTYPE html><html>Quota exceeded</html>", kind: str = "text/html") -> Callable:
    return lambda handler: handler.plain(200, text, Content_Type=kind)


def redirect(url: str) -> Callable[[Handler], None]:
    return lambda handler: handler.plain(302, b"", Location=url)


def drip(seconds: float) -> Callable[[Handler], None]:
    return lambda handler: handler.serve(handler.server.files[handler.path], drip=seconds)
