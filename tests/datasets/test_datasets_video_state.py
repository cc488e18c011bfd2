"""The states of a video: what is stored never changes, and every user reads the same words."""

import pyarrow
import pytest

from petvr.data.datasets.video_state import VideoState
from petvr.data.manifest import available, files, lock
from petvr.errors import PetvrError
from petvr.layout import Layout

STORED = {
    "ok": (True, False),
    "ok_transcoded": (True, False),
    "missing": (False, True),
    "missing_deferred": (False, True),
    "missing_permanent": (False, True),
    "gated": (False, True),
    "undecodable": (False, False),
}


def test_what_is_stored_and_what_it_means():
    assert {state.value: (state.usable, state.absent) for state in VideoState} == STORED
    assert len({state.english for state in VideoState}) == len(VideoState)


def test_a_status_of_another_version_is_missing_in_a_download_and_an_error_in_a_lock(tmp_path):
    (tmp_path / "missing.json").write_text('{"videos": {"a": {"status": "eaten"}, "b": {"status": "gated"}, "c": {}}}')
    states = {video: state for video, (state, _) in available.read_missing(tmp_path).items()}
    assert states == {"a": VideoState.MISSING, "b": VideoState.NEEDS_LOGIN, "c": VideoState.MISSING}
    videos = '{"a": ["eaten", 1, "", ""]}'
    text = (
        '{"format": 1, "dataset": "d", "hash": "01234567", "annotations": {},'
        '"splits": {"test": {"digest": "x", "videos": '
    )
    (tmp_path / "lock.json").write_text(f"{text}{videos}}}}}}}")
    with pytest.raises(PetvrError, match=r"lock.json: .*not 'eaten'"):
        lock.read_lock(tmp_path / "lock.json")


@pytest.mark.parametrize("status", STORED)
def test_a_manifest_written_with_plain_words_is_read(tmp_path, status):
    layout, names = Layout(tmp_path), files.VideoRow.__dataclass_fields__
    path = layout.manifest_rows("d", "test")
    path.parent.mkdir(parents=True)
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({name: [status if name == "status" else "x"] for name in names}), path)
    (row,) = files.read_rows(layout, "d", ["test"])
    assert row.status is VideoState(status) and row.ok == STORED[status][0]
    known = dict.fromkeys(names) | {"split": "test", "status": row.status}
    files.write_rows(layout, "d", [files.VideoRow(**known)])
    assert parquet.read_table(path).to_pydict()["status"] == [status]
