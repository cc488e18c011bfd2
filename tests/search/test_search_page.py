"""`petvr serve` in a real browser: type, see, click, play, two runs, many videos, hostile captions and paths."""

import json
import threading
import urllib.error
import urllib.request

import chromium_pipe
import frames_zoo as zoo
import pytest
import torch
import training_bench as tiny
import uvicorn

from petvr.data.datasets import Split
from petvr.library.video_index import Index
from petvr.search import opened
from petvr.search.gallery import Gallery, IndexGallery
from petvr.search.server import create_app

pytestmark = pytest.mark.slow  # a small training, and a browser

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script> red & \"left\""


class Clips(tiny.Colours):
    """One caption is hostile; test0 is H.264, test1 an AVI that no browser plays, test2 lies outside."""

    def _read_split(self, which):
        split = super()._read_split(which)
        captions = tuple(HOSTILE if which == "test" and n == 3 else text for n, text in enumerate(split.captions))
        return Split(split.name, split.videos, captions, split.caption_video)

    def file_names(self, video):
        return ["../secret.mp4"] if video == "test2" else super().file_names(video)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of a page on two runs."""
    home = tmp_path_factory.mktemp("page")
    bench = tiny.everything(home) | {"dataset": Clips(home)}
    (home / "videos").mkdir()
    zoo.write(home / "videos" / "test0.mp4", frames=40, codec="h264")
    zoo.write(home / "videos" / "test1.avi", frames=40, codec="mpeg4")
    zoo.write(home / "secret.mp4", frames=4, codec="h264")
    galleries = []
    for method, setting in (("zero_shot", {}), ("cross_modal_adapter", {"r": 4, "ds": 4})):
        out = home / method
        made = tiny.spec(method, train=method != "zero_shot", setting=setting, epochs=1)
        tiny.train(made, **bench | {"out": out, "state": home / f"state-{method}"})
        run = opened.open_run(
            out, weights=bench["weights"], store=bench["store"], dataset=bench["dataset"], device="cpu", threads=1
        )
        galleries.append(Gallery(run, run.split("test"), home / "kept" / method))
    with running(create_app(galleries, home / "cache", ["127.0.0.1"])) as address:
        yield address, home, galleries


class running:
    """A server on a free port, ended with the block."""

    def __init__(self, app):
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            self.thread.join(0.02)
            assert self.thread.is_alive(), "the server has ended"
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture
def page(tmp_path):
    opened_page = chromium_pipe.Page(tmp_path / "profile")
    yield opened_page
    errors = opened_page.errors
    opened_page.close()
    assert not errors


def fetch(address, **headers):
    """(status, headers, body)"""
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, dict(answer.headers.items()), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers.items()), error.read()


def browse(page):
    """Open the list of test queries, all 16."""
    page.value("id('browse').open = true")
    page.wait("document.querySelectorAll('#queries li').length === 16")


def test_type_see_and_play_with_the_keyboard_alone(served, page):
    address, *_ = served
    page.open(f"{address}/")
    page.wait("document.querySelector('#about')?.textContent.includes('16 videos')")
    assert page.value("document.activeElement.id") == "q"
    page.type("red left")
    page.press("Enter")
    assert page.wait("document.querySelectorAll('.hits').length") == 2
    assert page.value("[...document.querySelectorAll('#runs h2')].map((e) => e.textContent)") == [
        "vop/colours/tiny/zero_shot/seed-0",
        "vop/colours/tiny/cross_modal_adapter@ds=4,r=4/seed-0",
    ]
    assert page.value("location.search") == "?q=red%20left"
    page.wait("[...document.querySelectorAll('.hits img')].some((image) => image.complete && image.naturalWidth > 16)")
    page.value("document.querySelector('[aria-label=\"play test0\"]').focus()")
    page.value("document.body.style.paddingTop = '3000px'")
    page.press("Enter")
    page.value("scrollTo(0, 0)")
    page.wait("document.querySelector('video')?.readyState >= 2 && document.querySelector('video').currentTime > 0.1")


def test_what_the_browser_does_not_play_is_rewritten_once_and_plays(served, page):
    address, home, _ = served
    page.open(f"{address}/")
    page.wait("document.querySelector('#about')?.textContent")
    browse(page)
    page.click("#queries li:nth-child(2) button")
    page.wait("document.querySelector('#truth [aria-label=\"play test1\"]')")
    page.click("#truth [aria-label='play test1']")
    page.wait("document.querySelector('video')?.currentTime > 0.1")
    assert [path.suffix for path in (home / "cache").iterdir()] == [".mp4"]
    assert page.value("document.querySelector('video').videoWidth") > 0
    page.value("(() => { const v = document.querySelector('video'); v.pause(); v.currentTime = v.duration * 0.8; })()")
    page.wait("!document.querySelector('video').seeking && document.querySelector('video').currentTime > 0.5")


def test_no_result_and_no_sentence_are_said(served, page):
    address, *_ = served
    page.open(f"{address}/?q=%20")
    page.wait("document.querySelector('#state').textContent.includes('the sentence to search for is empty')")
    browse(page)
    page.value(
        "(() => { id('contains').value = 'nothing like it'; id('contains').dispatchEvent(new Event('input')); })()"
    )
    page.wait("id('count').textContent === '0 queries' && !document.querySelectorAll('#queries li').length")


def test_a_hostile_caption_stays_text_and_a_test_query_shows_its_own_video(served, page):
    address, *_ = served
    page.open(f"{address}/")
    page.wait("document.querySelector('#about')?.textContent")
    browse(page)
    page.click("#queries li:nth-child(4) button")
    page.wait("!id('truth').hidden && document.querySelectorAll('#runs .right').length === 2")
    assert page.value("id('truth').querySelector('p + p').textContent") == HOSTILE
    assert page.value("document.title") == "petvr: search"
    assert not page.value("document.querySelector('p img, p script, li > button img[src=x]')")


def test_a_dropped_file_finds_its_captions_and_is_gone_afterwards(served, page, tmp_path, monkeypatch):
    address, home, _ = served
    page.open(f"{address}/")
    page.wait("document.querySelector('#about')?.textContent")
    document = page.call("DOM.getDocument")["root"]["nodeId"]
    node = page.call("DOM.querySelector", nodeId=document, selector="#file")["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=node, files=[str(home / "videos" / "test0.mp4")])
    assert page.wait("document.querySelectorAll('.texts').length") == 2
    assert page.value("document.querySelector('.texts li').textContent").startswith("1. ")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    page.call("DOM.setFileInputFiles", nodeId=node, files=[str(tmp_path / "broken.mp4")])
    page.wait("id('state').textContent && !id('state').textContent.startsWith('reading')")
    assert not page.value("document.querySelector('.texts')")


def test_a_telephone_shows_one_column(served, tmp_path):
    address, *_ = served
    narrow = chromium_pipe.Page(tmp_path / "profile", 400, 800)
    try:
        narrow.call("Emulation.setDeviceMetricsOverride", width=375, height=700, deviceScaleFactor=2, mobile=True)
        narrow.open(f"{address}/?q=red")
        narrow.wait("document.querySelectorAll('.hits').length === 2")
        assert narrow.value("document.documentElement.scrollWidth <= innerWidth")
    finally:
        narrow.close()


def test_only_videos_of_the_data_set_are_served(served):
    address, home, _ = served
    status, headers, body = fetch(f"{address}/video/0", Range="bytes=0-99")
    assert (status, headers["content-type"], len(body)) == (206, "video/mp4", 100)
    assert body == (home / "videos" / "test0.mp4").read_bytes()[:100]
    assert "default-src 'self'" in headers["content-security-policy"]
    status, _, body = fetch(f"{address}/video/2")
    assert status == 404 and b"outside the data set's folder" in body
    (home / "videos" / "test5.mp4").write_text("root:x:0:0:a file that is no video")
    for wrong in (
        *("video/5", "video/7", "video/16", "video/-1", "video/..%2f..%2fsecret.mp4", "..%2fsecret.mp4", "server.py"),
        *("strip/16.jpg", "strip/..%2f0.jpg", "%2e%2e/%2e%2e/etc/passwd", "page/app.js"),
    ):
        assert fetch(f"{address}/{wrong}")[0] in (404, 422), wrong
    assert fetch(f"{address}/api/about", Host="evil.example")[0] == 400
    assert fetch(f"{address}/api/about")[0] == 200


def test_ten_thousand_videos_are_searched_at_once(served, page):
    _, home, galleries = served
    first = galleries[0]
    videos = tuple(f"v{n}" for n in range(10_000))
    split = Split("test", videos, tuple(f"caption {n}" for n in range(10_000)), tuple(range(10_000)))
    many = Gallery(first.run, split, home / "many")
    known = {name: each[:1] for name, each in first._videos.items()}
    generator = torch.Generator().manual_seed(0)
    many.__dict__["_videos"] = {
        name: torch.randn(10_000, *each.shape[1:], generator=generator) if each.is_floating_point()
        else each.expand(10_000, *each.shape[1:]) for name, each in known.items()
    }  # fmt: skip
    with running(create_app([many], home / "cache", ["127.0.0.1"])) as address:
        page.open(f"{address}/?q=red%20left")
        page.wait("document.querySelectorAll('.hits li').length === 12")
        assert page.value("id('about').textContent").startswith("10000 videos and 10000 captions")
        answer = json.loads(fetch(f"{address}/api/search?q=red%20left&top=100000")[2])
        hits = answer["runs"][0]["hits"]
        assert [hit["rank"] for hit in hits] == list(range(1, 101))
        assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)


def test_an_index_is_searched_and_played_and_offers_no_captions(served, page):
    _, home, galleries = served
    Index.build(galleries[1].run.text_video, home / "videos", to=home / "index")
    gallery = IndexGallery(Index.load(home / "index", galleries[1].run.text_video), "my videos")
    with running(create_app([gallery], home / "cache", ["127.0.0.1"])) as address:
        page.open(f"{address}/?q=red%20left")
        page.wait("document.querySelectorAll('.hits img').length === 2")
        assert page.value("id('about').textContent").startswith("2 videos of my videos")
        assert page.value("id('drop').hidden && id('browse').hidden")
        page.wait("[...document.querySelectorAll('.hits img')].every((image) => image.complete && image.naturalWidth)")
        page.click("[aria-label='play test1.avi']")
        page.wait("document.querySelector('video')?.currentTime > 0.1")
        assert fetch(f"{address}/video/2")[0] == 404 and fetch(f"{address}/api/search?q=%20")[0] == 400
        assert json.loads(fetch(f"{address}/api/search?q=red&caption=0")[2])["truth"] is None
