"""The pages and answers of `petvr serve`: a FastAPI application on galleries. Videos go by number, never by path."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware

from petvr.errors import PetvrError
from petvr.search.gallery import SHOWN, Gallery, IndexGallery, playable_file, strip
from petvr.search.rank import Hit

PAGE = Path(__file__).parent / "page"
FILES = {"": "index.html", "app.js": "app.js", "style.css": "style.css"}  # all that is ever read from PAGE
TOP, MOST = 12, 100  # answers shown, and at most asked for
QUERIES = 50  # test queries on a page
LARGEST = 1 << 29  # bytes of a file that is dropped on the page
SAFE = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def create_app(galleries: Sequence[Gallery] | Sequence[IndexGallery], cache: Path, hosts: Sequence[str]) -> FastAPI:
    """`galleries`: an index, one run, or two on the same split.

    `cache`: where videos that browsers do not play are rewritten. `hosts`: names the page may be called by; any other
    is refused, so that a foreign page cannot reach it by DNS.
    """
    app = FastAPI(title="petvr serve", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    first = galleries[0]

    @app.middleware("http")
    async def add_headers(request: Request, call_next: Any) -> Response:
        response = await call_next(request)
        response.headers.update(SAFE)
        return response

    @app.exception_handler(PetvrError)
    def refuse(_: Request, error: PetvrError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=400)

    @app.get("/")
    @app.get("/{name}")
    def file(name: str = "") -> FileResponse:
        if name not in FILES:
            raise HTTPException(404)
        return FileResponse(PAGE / FILES[name], headers={"Cache-Control": "no-cache"})

    @app.get("/api/about")
    def about() -> dict[str, Any]:
        return {
            "runs": [gallery.about for gallery in galleries],
            "dataset": first.title,
            "videos": len(first),
            "captions": len(first.captions),
        }

    @app.get("/api/search")
    def search(q: str, top: int = TOP, caption: int | None = None) -> dict[str, Any]:
        """`caption`: the number of the test query that was clicked; its video is marked."""
        own = first.owner(caption) if caption is not None and 0 <= caption < len(first.captions) else None
        runs = []
        for gallery in galleries:
            begin = time.perf_counter()
            hits = gallery.best_videos(q, max(1, min(top, MOST)))
            milliseconds = 1000 * (time.perf_counter() - begin)
            runs.append({"ms": round(milliseconds, 1), "hits": [_video(hit, hit.index == own) for hit in hits]})
        truth = None if own is None else _video(Hit(0, 0.0, own), True)
        return {"runs": runs, "truth": truth}

    @app.get("/api/queries")
    def queries(contains: str = "", start: int = 0) -> dict[str, Any]:
        """Test captions in their order, those that contain the words."""
        phrase = contains.casefold()
        numbers = [n for n, text in enumerate(first.captions) if phrase in text.casefold()]
        shown = numbers[max(start, 0) : max(start, 0) + QUERIES]
        return {
            "of": len(numbers),
            "queries": [{"caption": number, "text": first.captions[number]} for number in shown],
        }

    @app.post("/api/captions")
    async def captions(request: Request, name: str = "video.mp4", top: int = TOP) -> dict[str, Any]:
        """The body is a video file; it is deleted when its captions are found."""
        suffix = Path(name).suffix.lower()
        with tempfile.NamedTemporaryFile(suffix=suffix if suffix[1:].isalnum() else "") as stream:
            size = 0
            async for part in request.stream():
                size += len(part)
                if size > LARGEST:
                    raise HTTPException(413, f"a file of at most {LARGEST >> 20} MiB")
                stream.write(part)
            stream.flush()
            file, most = Path(stream.name), max(1, min(top, MOST))
            answers = [await run_in_threadpool(each.best_captions, file, most) for each in galleries]
        return {
            "runs": [
                {"hits": [{"rank": hit.rank, "score": hit.score, "text": texts[hit.index]} for hit in hits]}
                for texts, hits in answers
            ]
        }

    @app.get("/strip/{number}.jpg")
    def frames(number: int) -> Response:
        return Response(
            strip(first, _known(number)), media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"}
        )

    @app.api_route("/video/{number}", methods=["GET", "HEAD"])
    def video(number: int) -> FileResponse:
        try:
            path, media_type = playable_file(first, _known(number), cache)
        except PetvrError as error:
            raise HTTPException(404, str(error)) from error
        return FileResponse(path, media_type=media_type)

    def _known(number: int) -> int:
        if not 0 <= number < len(first):
            raise HTTPException(404)
        return number

    def _video(hit: Hit, right: bool) -> dict[str, Any]:
        window, captions = first.window(hit.index), first.captions_of(hit.index)
        return {"rank": hit.rank, "score": hit.score, "number": hit.index, "video": first.name(hit.index),
                "right": right, "captions": captions[:SHOWN], "more": max(len(captions) - SHOWN, 0),
                "part": f"#t={window[0]:g},{window[1]:g}" if window else ""}  # fmt: skip

    return app
