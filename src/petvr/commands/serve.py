"""`petvr serve --run RUN [--run RUN2]`, or `--index INDEX`: search videos in the browser, on loopback."""

from __future__ import annotations

import argparse
import socket
import sys
from typing import TYPE_CHECKING

from petvr.arguments import beside, host_name, port, threads
from petvr.commands.search import index_folder, open_named_run
from petvr.config import Config
from petvr.errors import PetvrError
from petvr.layout import Layout

if TYPE_CHECKING:
    from petvr.search.gallery import Gallery, IndexGallery

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", action="append", help="a finished run; twice: two side by side")
    what.add_argument("--index", help="what `petvr encode` wrote, or a name of `indexes` in the configuration")
    parser.add_argument("--split", help="whose videos are searched, with --run (default: test)")
    parser.add_argument("--host", type=host_name, default="127.0.0.1", help="default: loopback (there is no password)")
    parser.add_argument("--port", type=port, default=8765, help="0: any free one (default: %(default)s)")
    parser.add_argument("--threads", type=threads, help="CPU threads (default: all)")


def run(args: argparse.Namespace, config: Config) -> None:
    if args.run and len(args.run) > 2:
        raise PetvrError(f"petvr serve: {len(args.run)} runs given, allowed: one or two")
    if args.run and len({name.strip("/") for name in args.run}) < len(args.run):
        raise PetvrError(f"petvr serve: {args.run[0]} is given twice")
    beside(args, "run", split="test")
    import uvicorn

    from petvr.search.server import create_app

    listener = listen(args.host, args.port)
    galleries = [_opened_index(args, config)] if args.index else _opened_runs(args, config)
    host, port = listener.getsockname()[:2]
    hosts = [*LOOPBACK, "[::1]", args.host] if args.host in LOOPBACK else ["*"]
    app = create_app(galleries, Layout(config.results).results / "search" / "playable", hosts)
    print(f"http://{host if ':' not in host else f'[{host}]'}:{port}  (Ctrl-C ends it)", flush=True)
    if args.host not in LOOPBACK:
        print("note: others can reach this page; it has no password", file=sys.stderr, flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


def _opened_runs(args: argparse.Namespace, config: Config) -> list[Gallery]:
    from petvr.search.gallery import Gallery

    galleries = []
    for name in args.run:
        opened, keep = open_named_run(name, config, args.threads, args.split)
        galleries.append(Gallery(opened, opened.split(args.split), keep))
        galleries[-1].prepare()
    if any(gallery.split != galleries[0].split for gallery in galleries):
        raise PetvrError(f"petvr serve: the two runs have different videos or captions in split '{args.split}'")
    return galleries


def _opened_index(args: argparse.Namespace, config: Config) -> IndexGallery:
    from petvr.library.video_index import Index
    from petvr.search.gallery import IndexGallery
    from petvr.training.determinism import prepare_device

    prepare_device("cpu", args.threads)
    folder = index_folder(args.index, config)
    gallery = IndexGallery(Index.load(folder), str(folder))
    gallery.prepare()
    return gallery


def listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        raise PetvrError(f"--host {host} --port {port}: {getattr(error, 'strerror', None) or error}") from error
    return listener
