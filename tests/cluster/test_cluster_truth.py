"""What counts as the end of a job, from every odd combination of evidence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_submitit.truth import ACTIVE, AWAY, RETURNING, Evidence, Fate, Limits, Seen, judge

LIMITS = Limits(files=15, settle=30, lost=60, away=3600)
FINAL = ["COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED", "DEADLINE"]
STATES = sorted(ACTIVE | AWAY | RETURNING | set(FINAL))


def fate(state, age, stopped=False, result=None, asked=True):
    seen = Seen(state) if state else None
    return judge(Evidence(now=100 + age, result=result, stopped=stopped, seen=seen, asked=asked, since=100), LIMITS)[0]


@given(st.sampled_from([None, *STATES]), st.floats(0, 1e6), st.booleans(), st.booleans())
def test_a_result_beats_whatever_the_queue_says(state, age, stopped, asked):
    assert fate(state, age, stopped, {"outcome": "success"}, asked) is Fate.DONE
    assert fate(state, age, stopped, {"outcome": "failed", "reason": "exit code 3"}, asked) is Fate.FAILED


@given(st.floats(0, 1e9), st.booleans(), st.sampled_from(sorted(ACTIVE)))
def test_a_job_the_queue_has_is_waited_for_without_end(age, stopped, state):
    assert fate(state, age, stopped) is Fate.WAIT


@given(st.sampled_from([None, *STATES]), st.floats(0, 1e9))
def test_no_answer_from_the_queue_is_no_evidence(state, age):
    assert fate(state, age, asked=False) is Fate.WAIT


@pytest.mark.parametrize("state", sorted(AWAY))
def test_held_and_suspended_jobs_fail_only_at_their_deadline(state):
    assert fate(state, 3599) is Fate.WAIT
    assert fate(state, 3601) is Fate.FAILED


@pytest.mark.parametrize("state", sorted(RETURNING))
def test_preempted_and_lost_nodes_jobs_come_back_or_are_sent_again(state):
    assert fate(state, 29) is Fate.WAIT
    assert fate(state, 31) is Fate.AGAIN  # Slurm was told not to requeue: no failure, and no waiting for ever


@pytest.mark.parametrize("state", FINAL)
def test_an_end_without_result_waits_for_the_disk_then_fails(state):
    assert fate(state, 14) is Fate.WAIT
    assert fate(state, 16) is Fate.FAILED


def test_a_job_that_left_with_a_checkpoint_is_sent_again_unless_somebody_cancelled_it():
    assert fate("FAILED", 16, stopped=True) is Fate.AGAIN
    assert fate("TIMEOUT", 16, stopped=True) is Fate.AGAIN
    assert fate("CANCELLED", 16, stopped=True) is Fate.FAILED
    assert fate(None, 61, stopped=True) is Fate.AGAIN


def test_a_job_nobody_knows_is_lost_after_a_while():
    assert fate(None, 59) is Fate.WAIT
    assert fate(None, 61) is Fate.FAILED


@given(st.sampled_from([None, *FINAL, *RETURNING, *AWAY]), st.booleans())
def test_nothing_hangs(state, stopped):
    assert fate(state, 1e6, stopped) is not Fate.WAIT
