"""`petvr download` as a person and as the workflow call it."""

import json
from pathlib import Path

import pytest
import yaml
from test_download_archives import zipped

from petvr import cli
from petvr.data.datasets.msvd import Msvd
from petvr.data.datasets.source import DownloadSource, Login, Mirror

ROOT = Path(__file__).parents[2]
FILES = {
    "train_list.txt": b"one\n",
    "val_list.txt": b"two\n",
    "test_list.txt": b"three\n",
    "captions_msvd.json": json.dumps({name: ["a cat"] for name in ("one", "two", "three")}).encode(),
}
CLIPS = {f"YouTubeClips/{name}.avi": name.encode() * 999 for name in ("one", "two", "three")}
PASSWORD = "hunter2-never-shown"


@pytest.fixture
def petvr(tmp_path, monkeypatch, capsys):
    """Runs the command in a folder with the shipped config.yaml under an overlay; returns (exit code, output)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PETVR_CONFIG", raising=False)
    (tmp_path / "config.yaml").write_text((ROOT / "config.yaml").read_text())

    def act(*arguments, **overlay):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(overlay))
        capsys.readouterr()
        code = cli.main(["-c", "mine.yaml", "download", *arguments])
        out = capsys.readouterr()
        return code, out.out + out.err

    return act


@pytest.fixture
def msvd(server, monkeypatch):
    """MSVD in small on the server; `login` protects the annotation files."""

    def act(login=None, clips=CLIPS):
        declared = Login("127.0.0.1", "MSVD_USER", "MSVD_PASSWORD") if login else None
        sources = [
            DownloadSource(name, "annotations", (Mirror(server.put(f"/{name}", data, login=login), login=declared),))
            for name, data in FILES.items()
        ]
        videos = DownloadSource(
            "videos", "videos", (Mirror(server.put("/v.zip", zipped(clips)), "zip"),), pages=("http://p",)
        )
        monkeypatch.setattr(Msvd, "sources", (*sources, videos))

    return act


def test_a_whole_set_and_then_nothing_more_to_do(petvr, msvd, server, tmp_path):
    msvd()
    code, out = petvr("--list", "msvd")
    assert code == 0 and "videos: absent" in out and server.url("/v.zip") in out and "page: http://p" in out
    assert not (tmp_path / "data").exists() and server.seen == []
    assert petvr("msvd")[0] == 0
    assert {path.name for path in (tmp_path / "data" / "msvd" / "videos").iterdir()} == {
        "one.avi",
        "two.avi",
        "three.avi",
    }
    asked = len(server.seen)
    code, out = petvr("msvd", "--record")
    assert code == 0 and "msvd: downloaded: " in out and len(server.seen) == asked
    assert "videos: downloaded" in petvr("--list", "msvd")[1]


def test_where_the_users_files_are_nothing_is_downloaded(petvr, msvd, server, tmp_path):
    msvd()
    mine = tmp_path / "mine"
    (mine / "videos").mkdir(parents=True)
    for name, data in FILES.items():
        (mine / name).write_bytes(data)
    for name, data in CLIPS.items():
        (mine / "videos" / Path(name).name).write_bytes(data)
    code, out = petvr("msvd", "--record", paths={"msvd": str(mine)})
    assert code == 0 and "msvd: provided by you: train_list.txt" in out and server.seen == []
    code, out = petvr("msvd", "--record", paths={"msvd": {"videos": str(mine / "videos")}})
    assert code == 0 and {one.path for one in server.seen} == {f"/{name}" for name in FILES}
    code, out = petvr("msvd", paths={"msvd": str(tmp_path / "wrong")})
    assert code == 1 and f"{tmp_path / 'wrong'}: no train_list.txt" in out and "remove paths.msvd.annotations" in out


@pytest.mark.slow
def test_the_workflow_goes_on_with_what_is_there_unless_strict(petvr, msvd, server, tmp_path):
    msvd(clips=dict(list(CLIPS.items())[:2]))
    code, out = petvr("msvd", "--record")
    assert code == 0 and "1 videos removed" in out
    del server.files["/v.zip"]
    (tmp_path / "data" / "msvd" / "download.lock.json").unlink()
    for arguments, overlay, expected in (
        (["--record"], {}, 0),
        (["--record"], {"missing": "strict"}, 1),
        ([], {}, 1),
    ):
        assert petvr("msvd", *arguments, **overlay)[0] == expected, (arguments, overlay)
    (tmp_path / "data" / "msvd" / "test_list.txt").unlink()
    server.files["/test_list.txt"].script = [lambda handler: handler.plain(404, b"")] * 9
    code, out = petvr("msvd", "--record")
    assert code == 1 and "msvd: failed: test_list.txt" in out and "HTTP 404" in out
    mark = json.loads((tmp_path / "data" / "msvd" / "download.json").read_text())
    assert {one["key"]: one["status"] for one in mark["sources"]}["test_list.txt"] == "failed"


def test_a_password_is_in_no_output_and_no_file(petvr, msvd, server, monkeypatch, tmp_path, caplog):
    caplog.set_level("DEBUG")
    msvd(login=("someone", PASSWORD))
    code, out = petvr("msvd")
    assert code == 1 and "msvd: needs a login or licence: " in out and "MSVD_USER" in out and server.seen == []
    monkeypatch.setenv("MSVD_USER", "someone")
    for password, expected in ((PASSWORD + "-wrong", 1), (PASSWORD, 0)):
        monkeypatch.setenv("MSVD_PASSWORD", password)
        code, more = petvr("msvd")
        assert code == expected
        out += more
    texts = [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in (out, caplog.text, *texts) if PASSWORD in text]
    sent = {one.authorization for one in server.seen} - {None}
    assert len(sent) == 2 and not [text for text in (out, caplog.text, *texts) for key in sent if key in text]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [((), "which data set?"), (("msvdd",), "did you mean 'msvd'"), (("msrvtt", "nothing"), "unknown data set")],
)
def test_bad_input_is_one_line(petvr, arguments, text):
    code, out = petvr(*arguments)
    assert code == 2 and text in out and out.count("\n") == 1


def test_the_demo_downloads_nothing(petvr):
    world = yaml.safe_load((ROOT / "workflow" / "demo.yaml").read_text())["world"]
    code, out = petvr("msvd", world=world)
    assert code == 2 and "petvr world msvd" in out


def test_every_declared_source_can_be_listed(petvr):
    code, out = petvr("--list")
    assert code == 0
    for name in ("MSRVTT_data.json", "YouTubeClips.tar", "LSMDC16_annos_training.csv", "didemo", "val_1.json", "vatex"):
        assert name in out
