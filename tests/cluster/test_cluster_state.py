"""What counts as the end of a job, from every odd combination of evidence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_submitit.job_state import (
    ACTIVE,
    AWAY,
    RETURNING,
    JobOutcome,
    Observation,
    QueueEntry,
    Timeouts,
    decide,
)

TIMEOUTS = Timeouts(result=15, requeue=30, lost=60, away=3600)
FINAL = ["COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED", "DEADLINE"]
STATES = sorted(ACTIVE | AWAY | RETURNING | set(FINAL))


def outcome(state, age, left=False, result=None, answered=True):
    entry = QueueEntry(state) if state else None
    return decide(Observation(100 + age, result, left, entry, answered, since=100), TIMEOUTS)[0]


@given(st.sampled_from([None, *STATES]), st.floats(0, 1e6), st.booleans(), st.booleans())
def test_a_result_beats_whatever_the_queue_says(state, age, left, answered):
    assert outcome(state, age, left, {"outcome": "success"}, answered) is JobOutcome.DONE
    assert outcome(state, age, left, {"outcome": "failed", "reason": "exit code 3"}, answered) is JobOutcome.FAILED


@given(st.floats(0, 1e9), st.booleans(), st.sampled_from(sorted(ACTIVE)))
def test_a_job_the_queue_has_is_waited_for_without_end(age, left, state):
    assert outcome(state, age, left) is JobOutcome.WAIT


@given(st.sampled_from([None, *STATES]), st.floats(0, 1e9))
def test_no_answer_from_the_queue_is_no_evidence(state, age):
    assert outcome(state, age, answered=False) is JobOutcome.WAIT


@pytest.mark.parametrize("state", sorted(AWAY))
def test_held_and_suspended_jobs_fail_only_at_their_deadline(state):
    assert outcome(state, 3599) is JobOutcome.WAIT
    assert outcome(state, 3601) is JobOutcome.FAILED


@pytest.mark.parametrize("state", sorted(RETURNING))
def test_preempted_and_lost_nodes_jobs_come_back_or_are_sent_again(state):
    assert outcome(state, 29) is JobOutcome.WAIT
    # where Slurm was told not to requeue: no failure, and no waiting for ever
    assert outcome(state, 31) is JobOutcome.RESUBMIT


@pytest.mark.parametrize("state", FINAL)
def test_an_end_without_result_waits_for_the_disk_then_fails(state):
    assert outcome(state, 14) is JobOutcome.WAIT
    assert outcome(state, 16) is JobOutcome.FAILED


def test_a_job_that_left_with_a_checkpoint_is_sent_again_unless_somebody_cancelled_it():
    assert outcome("FAILED", 16, left=True) is JobOutcome.RESUBMIT
    assert outcome("TIMEOUT", 16, left=True) is JobOutcome.RESUBMIT
    assert outcome("CANCELLED", 16, left=True) is JobOutcome.FAILED
    assert outcome(None, 61, left=True) is JobOutcome.RESUBMIT


def test_a_job_nobody_knows_is_lost_after_a_while():
    assert outcome(None, 59) is JobOutcome.WAIT
    assert outcome(None, 61) is JobOutcome.FAILED


@given(st.sampled_from([None, *FINAL, *RETURNING, *AWAY]), st.booleans())
def test_nothing_hangs(state, left):
    assert outcome(state, 1e6, left) is not JobOutcome.WAIT
