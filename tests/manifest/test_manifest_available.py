"""Which data sets are given up, and which are waited for."""

import json
from pathlib import Path

import pytest

from petvr.data.datasets.base import Dataset
from petvr.data.datasets.source import DownloadSource, Login, Mirror
from petvr.data.manifest.available import verdict

LOGIN = Login("films.example", "FILMS_USER", "FILMS_PASSWORD")
OPEN = Mirror("https://open.example/a.txt")
GATED = Mirror("https://films.example/a.txt", login=LOGIN)


class Films(Dataset):
    name, folder, kind = "films", "films", "single"
    counts = {"test": (1, 1)}  # noqa: RUF012

    def files(self, which):
        return [self.root / "a.txt"]

    def _read_split(self, which):
        raise AssertionError("nothing is read to say whether a data set can be had")


@pytest.fixture
def films(tmp_path, monkeypatch):
    for name in ("FILMS_USER", "FILMS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    def make(*sources):
        found = Films(tmp_path / "films")
        found.sources = sources
        return found

    return make


def annotations(*mirrors, **changes):
    return DownloadSource("a.txt", "annotations", mirrors, **changes)


def mark(state: Path, status: str, **more):
    source = {"key": "a.txt", "gives": "annotations", "status": status, "reason": "404 everywhere", "next": "", **more}
    state.mkdir(parents=True, exist_ok=True)
    (state / "download.json").write_text(json.dumps({"format": 1, "sources": [source]}))


def ask(dataset, state, given=(False, False)):
    return verdict(dataset, given, state)


def test_what_can_be_downloaded_is_waited_for(films, tmp_path):
    found = ask(films(annotations(OPEN)), tmp_path / "state")
    assert (found.there, found.reason) == (False, "")


def test_what_is_there_needs_no_login(films, tmp_path):
    dataset = films(
        annotations(GATED), DownloadSource("videos", "videos", (Mirror("https://a.example/v.tar", "tar", login=LOGIN),))
    )
    dataset.videos.mkdir(parents=True)
    (dataset.root / "a.txt").write_text("v\n")
    assert ask(dataset, tmp_path / "state").reason == "needs a login", "an empty folder of videos is no data set"
    (dataset.videos / "v.avi").write_bytes(b"v")
    assert ask(dataset, tmp_path / "state").there


def test_a_login_opens_the_gate_and_no_password_is_told(films, tmp_path, monkeypatch):
    dataset = films(annotations(GATED, by_hand="ask the owners"))
    shut = ask(dataset, tmp_path / "state")
    assert shut.reason == "needs a login" and "FILMS_USER" in shut.more and "ask the owners" in shut.more
    monkeypatch.setenv("FILMS_USER", "me")
    monkeypatch.setenv("FILMS_PASSWORD", "secret")
    mark(tmp_path / "state", "gated")  # from before the login was there
    assert ask(dataset, tmp_path / "state").reason == ""
    assert "secret" not in repr(ask(dataset, tmp_path / "state"))


def test_a_gated_mirror_beside_an_open_one_is_no_wall(films, tmp_path):
    assert ask(films(annotations(GATED, OPEN)), tmp_path / "state").reason == ""


@pytest.mark.parametrize(
    ("status", "reason"),
    [("failed", "no mirror has a.txt any more"), ("deferred", ""), ("partly", ""), ("brought", "")],
)
def test_only_final_failures_count(films, tmp_path, status, reason):
    mark(tmp_path / "state", status)
    found = ask(films(annotations(OPEN)), tmp_path / "state")
    assert found.reason == reason and ("404" in found.more) == (status in ("failed", "deferred"))
    assert found.later == ("not downloaded yet" if status == "deferred" else "")


def test_by_hand_alone_and_what_is_optional(films, tmp_path):
    by_hand = annotations(by_hand="write a letter")
    assert ask(films(by_hand), tmp_path / "state").more == "write a letter"
    optional = annotations(by_hand="write a letter", optional=True)
    assert ask(films(annotations(OPEN), optional), tmp_path / "state").reason == ""


def test_a_place_the_user_names_is_never_given_up(films, tmp_path):
    """A wrong path is a mistake to be told by the job, not a data set that cannot be had."""
    assert ask(films(annotations(GATED)), tmp_path / "state", given=(True, True)).reason == ""


def test_a_broken_mark_is_no_mark(films, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "download.json").write_text("{")
    assert ask(films(annotations(OPEN)), tmp_path / "state").reason == ""
