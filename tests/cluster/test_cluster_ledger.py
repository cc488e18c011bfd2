"""The ledger after a kill at any byte, and the lock that keeps a second head out."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snakemake_executor_plugin_submitit.ledger import AlreadyRunning, HeadLock, Ledger

WORKS = ["a", "b", "c"]


def entry(work, number):
    return {"folder": f"job/{work}/{number}", "work": f"job/{work}", "name": "job", "digest": "d"}


def write(ledger, script):
    """Play a script of submissions and ends; returns the number of the last submission per work."""
    for number, (works, answered, outcome) in enumerate(script):
        batch = ledger.prepared(f"batch-{number}", [entry(work, number) for work in works])
        if answered:
            ledger.submitted(f"batch-{number}", str(1000 + number))
        if outcome:
            for one in batch:
                ledger.ended(one, outcome)


scripts = st.lists(
    st.tuples(
        st.lists(st.sampled_from(WORKS), min_size=1, max_size=3, unique=True),
        st.booleans(),
        st.sampled_from([None, "success", "failed"]),
    ),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(script=scripts, cut=st.floats(0, 1))
def test_a_kill_at_any_byte_leaves_a_readable_past(tmp_path_factory, script, cut):
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    path.touch()
    write(Ledger(path), script)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    whole, torn = json_lines(data), json_lines(path.read_bytes())
    ledger = Ledger(path)
    # what is known is a prefix of what happened
    assert torn == whole[: len(torn)]
    prepared = [event["folder"] for event in torn if event["event"] == "prepared"]
    assert list(ledger.submissions) == prepared
    # what the next head writes is readable, also behind a torn line
    ledger.prepared("after", [entry("a", 99)])
    ledger.submitted("after", "4711")
    again = Ledger(path)
    assert again.latest["job/a"].id == "4711" and again.latest["job/a"].is_open
    assert {name: one.id for name, one in again.submissions.items()} == {
        name: one.id for name, one in ledger.submissions.items()
    }


def json_lines(data):
    events = []
    for line in data.decode().split("\n"):
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


@pytest.mark.parametrize("key", ["folder", "work", "name", "digest", "batch", "index", "size"])
def test_a_line_without_one_of_its_keys_is_left_out_and_counted(tmp_path, key):
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.prepared("x", [entry("a", 1)])
    damaged = {name: value for name, value in json.loads(path.read_text()).items() if name != key}
    with open(path, "a") as stream:
        stream.write(json.dumps(damaged) + "\n" + json.dumps({"time": 1, "event": "submitted"}) + "\n")
    ledger.prepared("y", [entry("b", 1)])
    ledger.submitted("y", "70")
    again = Ledger(path)
    assert len(again.damaged) == 2 and [one.id for one in again.latest.values()] == [None, "70"]


def test_tasks_of_an_array_and_single_jobs_have_slurms_names(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    pair = ledger.prepared("two", [entry("a", 1), entry("b", 1)])
    one = ledger.prepared("one", [entry("c", 1)])
    ledger.submitted("two", "70")
    ledger.submitted("one", "71")
    assert [x.id for x in pair + one] == ["70_0", "70_1", "71"]


def test_only_what_snakemake_has_not_noted_is_open(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    done, failed, running = ledger.prepared("x", [entry("a", 1), entry("b", 1), entry("c", 1)])
    ledger.ended(done, "success")
    ledger.ended(failed, "failed")
    assert (done.is_open, failed.is_open, running.is_open) == (True, False, True)
    ledger.acknowledged(done)
    assert not Ledger(tmp_path / "ledger.jsonl").latest["job/a"].is_open


def test_a_second_head_is_refused_and_a_dead_one_is_not(tmp_path):
    lock = tmp_path / "head.lock"
    code = f"""
import signal
from snakemake_executor_plugin_submitit.ledger import HeadLock
HeadLock({str(lock)!r}).acquire(); print("held", flush=True); signal.pause()
"""
    head = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert head.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunning, match=f"process {head.pid} on "):
            HeadLock(lock).acquire()
    finally:
        head.kill()
        head.wait()
    again = HeadLock(lock)
    again.acquire()
    again.release()
