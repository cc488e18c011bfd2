"""Transfers from a server that misbehaves: what arrives is right, or nothing does and the reason is told."""

import itertools
import random
import threading

import pytest
from rogue import drip, drop, hold, page, redirect, status

from petvr.data.datasets.source import Login, Mirror
from petvr.data.download.failures import Changed, DiskFull, LoginRequired, MirrorFailed, RetryLater
from petvr.data.download.lock import DownloadLock
from petvr.data.download.retry import RetryPolicy
from petvr.data.download.transfer import fetch
from petvr.data.download.web import Web

BODY = random.Random("download/body").randbytes(300_000)


@pytest.fixture
def get(web, lock, tmp_path):
    return lambda url, **mirror: fetch(web, Mirror(url, **mirror), tmp_path / "file", lock).read_bytes()


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if ".part" in path.name)


def test_a_broken_connection_is_resumed_where_it_broke(server, get, tmp_path, pauses):
    url = server.put("/f", BODY, drop(100_000), drop(50_000))
    assert get(url) == BODY
    first, second, third = server.asked("/f")
    assert first.range is None and second.if_range == server.files["/f"].tag
    starts = [int(one.range.removeprefix("bytes=").rstrip("-")) for one in (second, third)]
    assert 0 < starts[0] < starts[1] < len(BODY)
    assert len(pauses) == 2 and leftovers(tmp_path) == []


def test_attempts_that_gain_bytes_are_not_counted(server, get, pauses):
    url = server.put("/f", BODY, *[drop(20_000)] * 12)  # more than the four tries of `retry`
    assert get(url) == BODY
    assert set(pauses) == {1.0}, "pauses do not grow while something comes"


def test_a_server_that_ignores_ranges_is_read_from_the_start(server, get):
    url = server.put("/f", BODY, drop(100_000), ranges=False)
    assert get(url) == BODY


def change(body):
    """The file is another one from the next request on."""

    def act(handler):
        handler.server.files[handler.path].body = body
        handler.serve(handler.server.files[handler.path])

    return act


@pytest.mark.parametrize("length", [300_000, 250_000, 400_000])
def test_a_file_that_changed_meanwhile_is_not_stitched(server, get, length):
    other = random.Random("download/other").randbytes(length)
    url = server.put("/f", BODY, drop(100_000), change(other))
    assert get(url) == other


def lies(start):
    """206 with other bytes than asked for, as many as were asked for and under the tag of the right ones."""

    def act(handler):
        file = handler.server.files[handler.path]
        body = file.body[start : start + len(file.body) - handler.start_of(file)]
        span = f"bytes {start}-{start + len(body) - 1}/{len(file.body)}"
        handler.plain(206, body, Content_Range=span, ETag=file.tag)

    return act


def test_a_range_that_was_not_asked_for_is_not_stitched(server, get):
    url = server.put("/f", BODY, drop(100_000), lies(7))
    assert get(url) == BODY


def test_without_a_validator_nothing_is_resumed_unless_a_checksum_is_published(server, get, sha256):
    url = server.put("/f", BODY, drop(100_000), etag=None)
    assert get(url) == BODY and server.asked("/f")[-1].range is None
    url = server.put("/g", BODY, drop(100_000), etag=None)
    assert get(url, sha256=sha256(BODY)) == BODY and server.asked("/g")[-1].range is not None


def test_a_resumed_file_with_a_wrong_checksum_is_taken_anew(server, get, sha256):
    """The other end changed without a sign: only the checksum tells."""
    url = server.put("/f", b"x" * len(BODY), drop(100_000), change(BODY), etag=None)
    server.files["/f"].script[1] = lambda handler: (
        setattr(handler.server.files["/f"], "body", BODY),
        lies_none(handler),
    )
    assert get(url, sha256=sha256(BODY)) == BODY
    assert [one.range is None for one in server.asked("/f")] == [True, False, True]


def lies_none(handler):
    handler.serve(handler.server.files[handler.path])


def test_429_waits_as_long_as_asked_and_500_a_growing_while(server, get, pauses):
    url = server.put("/f", BODY, status(429, Retry_After="37"), status(500), status(503))
    assert get(url) == BODY
    assert pauses == [37.0, 2.0, 4.0]


def test_a_retry_after_that_is_too_long_is_left_to_the_next_call(server, get, pauses):
    url = server.put("/f", BODY, status(503, Retry_After="86400"))
    with pytest.raises(RetryLater, match="HTTP 503"):
        get(url)
    assert pauses == []


def test_a_server_that_stays_broken_is_given_up(server, get, pauses):
    url = server.put("/f", BODY, *[status(502)] * 9)
    with pytest.raises(RetryLater, match="HTTP 502"):
        get(url)
    assert len(server.asked("/f")) == 4 and pauses == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("code", [400, 403, 404, 410, 451])
def test_a_refusal_is_not_repeated(server, get, code):
    url = server.put("/f", BODY, status(code))
    with pytest.raises(MirrorFailed, match=f"HTTP {code}"):
        get(url)
    assert len(server.asked("/f")) == 1


@pytest.mark.parametrize("answer", [page(), page(kind="video/mp4"), page(b"  <html><body>log in", "application/zip")])
def test_a_page_is_no_file(server, get, tmp_path, answer):
    url = server.put("/f", BODY, answer)
    assert get(url) == BODY, "a quota page may pass"
    url = server.put("/g", BODY, answer, answer, answer)
    with pytest.raises(RetryLater, match="web page instead of the file"):
        get(url)
    assert len(server.asked("/g")) == 2 and leftovers(tmp_path) == []


@pytest.mark.parametrize("body", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 8180000\n"])
def test_nothing_and_a_pointer_are_no_file(server, get, tmp_path, body):
    with pytest.raises(MirrorFailed, match=r"empty|Git LFS pointer"):
        get(server.put("/f", body))
    assert not (tmp_path / "file").exists() and leftovers(tmp_path) == []


def test_something_else_is_no_archive(server, web, lock, tmp_path):
    for kind in ("zip", "tar"):
        with pytest.raises(MirrorFailed, match=f"no {kind} archive"):
            fetch(web, Mirror(server.put(f"/f.{kind}", BODY), kind), tmp_path / "file", lock)


def announce(length):
    """A Content-Length that is not true."""

    def act(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(BODY)
        handler.close_connection = True

    return act


def test_a_body_that_ends_early_is_noticed(server, get):
    url = server.put("/f", BODY, *[announce(len(BODY) + 5)] * 9)
    with pytest.raises(RetryLater, match="connection broken"):
        get(url)


def test_sizes_and_checksums_that_are_published_must_match(server, get, tmp_path, sha256):
    url = server.put("/f", BODY)
    with pytest.raises(MirrorFailed, match=r"is 300,000 bytes long, published are 299,999"):
        get(url, size=299_999)
    for name in ("sha256", "md5"):
        with pytest.raises(MirrorFailed, match=f"{name} is [0-9a-f]+, published is 00ff"):
            get(url, **{name: "00ff"})
    assert not (tmp_path / "file").exists() and leftovers(tmp_path) == []
    assert get(url, size=300_000, sha256=sha256(BODY).upper()) == BODY


def test_a_body_without_a_length_must_not_exceed_the_published_size(server, get):
    url = server.put("/f", BODY, length=False)
    with pytest.raises(MirrorFailed, match="sends more than the 1,000 bytes"):
        get(url, size=1_000)


def test_a_compressed_transfer_is_refused(server, get):
    url = server.put("/f", BODY, lambda handler: handler.plain(200, BODY, Content_Encoding="gzip"))
    with pytest.raises(MirrorFailed, match="compressed"):
        get(url)


def test_the_first_download_is_trusted_and_a_later_change_is_not(server, get, tmp_path, sha256):
    url = server.put("/f", BODY)
    get(url)
    (tmp_path / "file").unlink()
    server.files["/f"].body = BODY[:-1] + b"!"
    reread = DownloadLock(tmp_path / "download.lock.json")
    assert reread.files[url]["sha256"] == sha256(BODY) and reread.files[url]["published"] is False
    with pytest.raises(Changed) as caught:
        get(url)
    assert sha256(BODY) in str(caught.value) and sha256(server.files["/f"].body) in str(caught.value)
    assert not (tmp_path / "file").exists() and DownloadLock(tmp_path / "download.lock.json").files == reread.files


@pytest.mark.parametrize(("slow_bytes", "connections"), [(10**9, 2), (1_000, 1)])
def test_a_connection_that_only_drips_is_replaced(server, lock, tmp_path, slow_bytes, connections):
    clock = itertools.chain([0.0], itertools.repeat(1.0))  # the first block of bytes took a second, the others none
    web = Web(RetryPolicy(sleep=lambda seconds: None, slow_after=1, slow_bytes=slow_bytes, clock=clock.__next__))
    assert fetch(web, Mirror(server.put("/f", BODY, drip(0.01))), tmp_path / "f", lock).read_bytes() == BODY
    web.close()
    asked = server.asked("/f")
    assert len(asked) == connections and (asked[-1].range is None) == (connections == 1)


def test_nobody_there_is_tried_once_more_only_the_first_time(web, lock, tmp_path, pauses):
    for expected in (2, 0):
        pauses.clear()
        with pytest.raises(RetryLater, match="no connection"):
            fetch(web, Mirror("http://127.0.0.1:9/f"), tmp_path / "file", lock)
        assert len(pauses) == expected


def test_a_full_disk_is_told_before_anything_is_written(server, get, monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(DiskFull, match=r"0\.3 MB are to come, 0\.0 MB are free"):
        get(server.put("/f", BODY))
    assert leftovers(tmp_path) == []


LOGIN = Login("127.0.0.1", "SECRET_USER", "SECRET_PASSWORD")
USER, PASSWORD = "someone", "hunter2-never-shown"


def test_credentials_come_from_the_environment_or_netrc(server, get, monkeypatch, tmp_path):
    url = server.put("/f", BODY, login=(USER, PASSWORD))
    with pytest.raises(LoginRequired, match=r"SECRET_USER and SECRET_PASSWORD.*machine 127\.0\.0\.1"):
        get(url, login=LOGIN)
    assert server.asked("/f") == [], "nobody is asked without credentials"
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert get(url, login=LOGIN) == BODY
    monkeypatch.setenv("SECRET_USER", USER)
    monkeypatch.setenv("SECRET_PASSWORD", PASSWORD + "!")
    with pytest.raises(LoginRequired, match="refused") as caught:
        get(url, login=LOGIN)
    texts = [repr(caught.value), *(path.read_text() for path in tmp_path.glob("*.json"))]
    assert not [text for text in texts if PASSWORD in text or USER in text]


def test_a_broken_netrc_does_not_show_its_words(server, get, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} pasword {PASSWORD}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(Exception, match="line 1 cannot be understood") as caught:
        get(server.put("/f", BODY), login=LOGIN)
    assert PASSWORD not in repr(caught.value) and caught.value.__cause__ is None


def test_credentials_do_not_follow_to_another_host(server, get, monkeypatch):
    monkeypatch.setenv("SECRET_USER", USER)
    monkeypatch.setenv("SECRET_PASSWORD", PASSWORD)
    server.put("/there", BODY)
    elsewhere = server.url("/there").replace("127.0.0.1", "localhost")
    url = server.put("/f", b"", redirect(elsewhere), login=(USER, PASSWORD))
    assert get(url, login=LOGIN) == BODY
    assert server.asked("/f")[0].authorization and server.asked("/there")[0].authorization is None
    server.put("/same", BODY, login=(USER, PASSWORD))
    url = server.put("/g", b"", redirect("/same"), login=(USER, PASSWORD))
    assert get(url, login=LOGIN) == BODY, "on its own host they go on"


def test_redirects_end(server, get):
    url = server.put("/f", b"", *[redirect("/f")] * 50)
    with pytest.raises(MirrorFailed, match="more than 10 times"):
        get(url)
    with pytest.raises(MirrorFailed, match="neither http nor https"):
        get(server.put("/g", b"", redirect("file:///etc/passwd")))


@pytest.mark.parametrize("target", ["http://[", "http://x:99999/", "http://x:a/", "http://a\\\\b:b/", "//[::1"])
def test_a_redirect_to_what_is_no_address_is_refused(server, get, target):
    with pytest.raises(MirrorFailed, match=r"cannot be read|cannot be opened|no connection"):
        get(server.put("/f", b"", redirect(target)))
    if "//" in target[:7]:
        with pytest.raises(MirrorFailed, match=r"cannot be read|cannot be opened"):
            get(target)


def headers(**values):
    """The first half of the file under these headers, then the connection breaks."""

    def act(handler):
        handler.send_response(200)
        for name, value in values.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(BODY[:150_000])
        handler.close_connection = True

    return act


@pytest.mark.parametrize("tag", ['"\xe9\xff"', '"a\tb"', "W/", ""])
def test_a_tag_that_cannot_be_sent_back_is_not(server, get, tag):
    """Else the client fails over its own header; without a validator the file comes from the start."""
    url = server.put("/f", BODY, headers(Content_Length=str(len(BODY)), ETag=tag))
    assert get(url) == BODY
    assert server.asked("/f")[-1].if_range is None


@pytest.mark.parametrize("length", ["9" * 5_000, "-1", "0x10", "1_0", "\xb2"])
def test_a_length_that_is_no_number_is_never_believed(server, get, length):
    with pytest.raises(RetryLater):
        get(server.put("/f", BODY, *[headers(Content_Length=length)] * 4))


@pytest.mark.parametrize(
    "span", ["bytes 100-9/" + "9" * 5_000, "bytes \xb2-1/5", "bytes */*", "150000-299999/300000", ""]
)
def test_a_range_that_cannot_be_read_is_not_stitched(server, get, span):
    def act(handler):
        handler.plain(206, BODY[:1000], Content_Range=span)

    assert get(server.put("/f", BODY, drop(100_000), act)) == BODY


@pytest.mark.parametrize(
    "value",
    [
        "\xb2",
        "9" * 5_000,
        " ",
        ",",
        "a, b",
        "-5",
        "1e9",
        "Mon, 01 Jan 99999999999 00:00:00 GMT",
        "1 Jan 2020 0:0:0 +" + "9" * 30,
    ],
)
def test_a_retry_after_that_cannot_be_read_asks_for_nothing(server, get, pauses, value):
    url = server.put("/f", BODY, status(503, Retry_After=value))
    if value.isdecimal():  # a wait of centuries
        with pytest.raises(RetryLater):
            get(url)
    else:
        assert get(url) == BODY and pauses == [1.0]


def test_an_address_with_a_password_in_it_is_not_shown(server, get):
    url = server.put("/f", BODY, status(404)).replace("http://", f"http://{USER}:{PASSWORD}@")
    with pytest.raises(MirrorFailed) as caught:
        get(url)
    assert PASSWORD not in str(caught.value)


def test_an_interruption_stops_at_the_next_block(server, lock, tmp_path):
    retry, release = RetryPolicy(), threading.Event()
    web = Web(retry)
    url = server.put("/f", BODY, hold(30_000, release))

    def on_progress(have, total):
        if have > 20_000:
            retry.halt.set()
            release.set()

    with pytest.raises(Exception, match="interrupted"):
        fetch(web, Mirror(url), tmp_path / "file", lock, on_progress)
    web.close()
    assert (tmp_path / "file.part").stat().st_size < len(BODY)
