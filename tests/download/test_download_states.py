"""The words for what became of a source: stored as earlier versions stored them, said in one English."""

import json

import pytest
from small_set import LIST, NAMES, small

from petvr.data.datasets.source import DownloadSource, Mirror
from petvr.data.datasets.video_state import VideoState
from petvr.data.download.dataset_folder import DatasetFolder, inspect_source
from petvr.data.download.source_state import SourceState

STORED = {  # in download.json of every version: whether it is settled, and how it is said
    "absent": (False, "absent"),
    "given": (True, "provided by you"),
    "there": (True, "present"),
    "brought": (True, "downloaded"),
    "partly": (False, "partial"),
    "gated": (False, "needs a login or licence"),
    "deferred": (False, "not downloaded yet"),
    "failed": (False, "failed"),
    "changed": (False, "changed at its source"),
}


def test_the_stored_values_and_their_english():
    assert {state.value: (state.settled, state.english) for state in SourceState} == STORED
    assert len({state.english for state in SourceState}) == len(SourceState)
    assert SourceState.RETRY_LATER.english == VideoState.RETRY_LATER.english


@pytest.fixture
def folder(tmp_path):
    """A folder that an earlier version left: b and c have no file, and missing.json says why."""
    source = DownloadSource("videos", "videos", (Mirror("http://x/v.zip", "zip"),))
    dataset = small(tmp_path, (source,))
    dataset.videos.mkdir()
    (tmp_path / "list.txt").write_bytes(LIST)
    for name in (NAMES[0], NAMES[3]):
        (dataset.videos / f"{name}.mp4").write_bytes(b"x")
    why = {"b": "missing_permanent", "c": "missing_deferred"}
    missing = {v: dict(status=w, reason="r", source="videos", attempts=1, last_try="t") for v, w in why.items()}
    (tmp_path / "missing.json").write_text(json.dumps({"format": 1, "videos": missing}))
    lock = {"videos": {"mirror": "http://x/v.zip", "complete": True, "date": "t"}}
    (tmp_path / "download.lock.json").write_text(json.dumps({"format": 1, "files": {}, "videos": lock}))
    return DatasetFolder("small", [dataset], tmp_path, dataset.videos, tmp_path)


def test_the_files_of_earlier_versions_are_read(folder):
    assert folder.missing.removed("b") and not folder.missing.removed("c")
    assert folder.missing.count(VideoState.RETRY_LATER) == 1
    report = inspect_source(folder, folder.sources[0])
    assert (report.status, report.reason) == (SourceState.DOWNLOADED, "1 videos removed (missing.json)")
    folder.write([report])
    stored = json.loads((folder.state / "download.json").read_text())
    assert stored["complete"] is True and stored["sources"][0]["status"] == "brought"


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2, "videos": {}}', '{"format": 1, "videos": []}'])
def test_a_damaged_state_file_is_named(tmp_path, text):
    (tmp_path / "missing.json").write_text(text)
    with pytest.raises(Exception, match=r"missing\.json.*delete it to start over"):
        DatasetFolder("small", [], tmp_path, tmp_path, tmp_path)
