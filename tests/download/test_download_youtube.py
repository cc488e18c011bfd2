"""Clips from YouTube, with a yt-dlp that is made up: what is gone is told from what may come back."""

import json
import sys
import types
from pathlib import Path

import pytest
from small_set import LIST, NAMES, small

from petvr.data.datasets.source import DownloadSource, Mirror
from petvr.data.datasets.video_state import VideoState
from petvr.data.download.dataset_folder import DatasetFolder
from petvr.data.download.failures import MirrorFailed, RetryLater
from petvr.data.download.session import DownloadOptions, DownloadSession
from petvr.data.download.sources import download_sources
from petvr.data.download.youtube import Blocked, explain_error


class FakeError(Exception):
    pass


class Ranges:
    def __init__(self, chapters, ranges):
        self.ranges = ranges


@pytest.fixture
def youtube(monkeypatch):
    """A yt_dlp module; `answers[id]` is what happens to a video: an error text, an ending, or bytes as mp4."""
    module = types.ModuleType("yt_dlp")
    module.utils = types.SimpleNamespace(YoutubeDLError=FakeError, download_range_func=Ranges)
    module.answers, module.asked, module.options = {}, [], []

    class YoutubeDL:
        def __init__(self, options):
            module.options.append(options)
            self.options = options

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def extract_info(self, address, download):
            video = address.removeprefix("https://www.youtube.com/watch?v=")
            module.asked.append(video)
            answer = module.answers.get(video, ".mp4")
            if not answer.startswith("."):
                raise FakeError(f"ERROR: [youtube] {video}: {answer}")
            path = Path(self.options["outtmpl"]["default"].replace("%%", "%").replace(".%(ext)s", answer))
            path.write_bytes(video.encode())
            return {"requested_downloads": [{"filepath": str(path)}]}

    module.YoutubeDL = YoutubeDL
    monkeypatch.setitem(sys.modules, "yt_dlp", module)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    return module


@pytest.fixture
def call(tmp_path, retry):
    root = tmp_path / "data" / "small"
    root.mkdir(parents=True)
    (root / "list.txt").write_bytes(LIST)
    sources = (DownloadSource("videos", "videos", (Mirror(kind="youtube"),)),)

    def act(**options):
        dataset = small(root, sources)
        act.videos, act.missing = dataset.videos, root / "missing.json"
        folder = DatasetFolder("small", [dataset], root, dataset.videos, root)
        (state,) = download_sources(DownloadSession(folder, DownloadOptions(**options), retry))
        return state

    act.work = root / "videos" / ".download"
    return act


def test_clips_arrive_under_their_own_names_cut_to_their_window(youtube, call):
    youtube.answers["id-b"] = ".webm"
    call.work.mkdir(parents=True)
    (call.work / "a.mp4.part").write_bytes(b"left by a killed call")
    state = call()
    assert state.status == "brought" and state.mirror == "youtube" and not call.work.exists()
    files = {path.name: path.read_text() for path in call.videos.iterdir()}
    assert files == {"a.mp4": "id-a", "b.webm": "id-b", "c.mp4": "id-c", "d.mp4": "id-d"}
    for options in youtube.options:
        assert options["download_ranges"].ranges == [(10.0, 20.0)] and options["force_keyframes_at_cuts"]
        first, *_, last = options["format"].split("/")
        assert "avc1" in first and "[height<=480]" in first and "!^=av01" in last and "cookiefile" not in options
    youtube.asked.clear()
    assert call().status == "brought" and youtube.asked == []


def test_what_is_gone_is_not_asked_again_and_what_may_come_back_is(youtube, call):
    youtube.answers |= {"id-a": "Private video. Sign in if you've been granted access", "id-b": "Read timed out."}
    state = call()
    missing = json.loads(call.missing.read_text())["videos"]
    assert (missing["a"]["status"], missing["a"]["reason"]) == (VideoState.REMOVED, "private video")
    assert (missing["b"]["status"], missing["b"]["attempts"]) == (VideoState.RETRY_LATER, 1) and "timed out" in missing[
        "b"
    ]["reason"]
    assert state.status == "partly" and "1 not downloaded yet" in state.reason
    youtube.asked.clear()
    call()
    assert youtube.asked == ["id-b"] and json.loads(call.missing.read_text())["videos"]["b"]["attempts"] == 2
    del youtube.answers["id-b"]
    state = call()
    assert state.status == "brought" and "1 videos removed" in state.reason
    assert list(json.loads(call.missing.read_text())["videos"]) == ["a"]


def test_everything_gone_is_known_as_such(youtube, call):
    youtube.answers = {f"id-{name}": "Video unavailable" for name in NAMES}
    state = call()
    missing = json.loads(call.missing.read_text())["videos"]
    assert {one["status"] for one in missing.values()} == {VideoState.REMOVED} and len(missing) == 4
    assert "4 videos removed" in state.reason


def test_a_bot_check_ends_the_call_early(youtube, call, monkeypatch):
    monkeypatch.setattr("petvr.data.download.youtube.ENOUGH_BLOCKS", 2)
    youtube.answers = {f"id-{name}": "Sign in to confirm you’re not a bot." for name in NAMES}
    state = call(youtube_parallel=1)
    assert state.status == "deferred" and len(youtube.asked) == 2
    missing = json.loads(call.missing.read_text())["videos"]
    assert {one["status"] for one in missing.values()} == {VideoState.RETRY_LATER} and len(missing) == 4


def test_cookies_only_where_the_configuration_names_a_file(youtube, call, tmp_path):
    cookies = tmp_path / "cookies.txt"
    assert call(youtube_cookies=cookies).status == "gated" and youtube.asked == []
    cookies.write_text("# Netscape HTTP Cookie File\n")
    assert call(youtube_cookies=cookies, youtube_height=360).status == "brought"
    assert {options["cookiefile"] for options in youtube.options} == {str(cookies)}
    assert all("[height<=360]" in options["format"] for options in youtube.options)


def test_without_yt_dlp_or_ffmpeg_the_way_to_them_is_told(youtube, call, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    state = call()
    assert state.status == "gated" and "ffmpeg" in state.reason
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    state = call()
    assert state.status == "gated" and "pip install 'petvr[youtube]'" in state.reason


def test_success_without_a_file_is_no_success(youtube, call):
    youtube.YoutubeDL.extract_info = lambda self, address, download: {"requested_downloads": []}
    state = call()
    assert state.status == "deferred" and "leaves no file" in state.reason


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("Private video. Sign in if you've been granted access to this video", MirrorFailed, "private video"),
        ("Video unavailable. This video has been removed by the uploader", MirrorFailed, "removed by the uploader"),
        (
            "Video unavailable. This video is no longer available because the YouTube account associated with this "
            "video has been terminated.",
            MirrorFailed,
            "account terminated",
        ),
        ("The uploader has not made this video available in your country", MirrorFailed, "blocked in this country"),
        ("This video has been removed for violating YouTube's Terms of Service", MirrorFailed, "removed by YouTube"),
        ("Join this channel to get access to members-only content", MirrorFailed, "for members of the channel only"),
        ("Video unavailable", MirrorFailed, "unavailable"),
        ("Sign in to confirm you’re not a bot. Use --cookies", Blocked, "bot"),
        ("Video unavailable. This content isn't available, try again later.", Blocked, "rate"),
        ("HTTP Error 429: Too Many Requests", Blocked, "rate"),
        ("Sign in to confirm your age. This video may be inappropriate for some users.", RetryLater, "youtube_cookies"),
        ("Unable to download webpage: <urlopen error timed out>", RetryLater, "timed out"),
        ("Something nobody has seen before", RetryLater, "Something nobody"),
    ],
)
def test_the_words_of_youtube(text, kind, reason):
    verdict = explain_error(f"ERROR: [youtube] abc: {text}")
    assert type(verdict) is kind and reason in str(verdict)
