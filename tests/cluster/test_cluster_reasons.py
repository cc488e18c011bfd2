"""Slurm's own words, as its sources have them: reasons of jobs that wait, refusals of sbatch."""

from pathlib import Path

import pytest

from snakemake_executor_plugin_submitit.job_state import JobOutcome, Observation, QueueEntry, Timeouts, decide
from snakemake_executor_plugin_submitit.pending import REASONS, Prospect, explain_reason
from snakemake_executor_plugin_submitit.refusals import Refusal, judge_refusal

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"
POLICY = (
    "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
)


@pytest.mark.parametrize(
    "reason, prospect",
    [
        ("None", Prospect.SOON),
        ("Resources", Prospect.SOON),
        ("PartitionTimeLimit", Prospect.NEVER),
        ("QOSMaxWallDurationPerJobLimit", Prospect.NEVER),
        ("AssocMaxCpuPerJobLimit", Prospect.NEVER),
        ("QOSMaxGRESPerJob", Prospect.NEVER),
        ("QOSMinCpuNotSatisfied", Prospect.NEVER),
        ("QOSMaxCpuPerUserLimit", Prospect.WAITS),
        ("QOSGrpCpuLimit", Prospect.WAITS),
        ("AssocGrpCPUMinutesLimit", Prospect.WAITS),
        ("AssocMaxJobsLimit", Prospect.WAITS),
        ("JobHeldUser", Prospect.HELD),
        ("job requeued in held state", Prospect.HELD),
        ("launch failed requeued held", Prospect.RELEASED),
        ("launch_failed_requeued_held", Prospect.RELEASED),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-2]", Prospect.WAITS),
        ("Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions", Prospect.WAITS),
        ("DependencyNeverSatisfied", Prospect.NEVER),
        ("Something of tomorrow", Prospect.WAITS),
    ],
)
def test_a_reason_says_whether_the_job_may_start(reason, prospect):
    assert explain_reason(reason).prospect is prospect


def test_of_several_partitions_one_that_is_too_short_stops_nothing():
    assert explain_reason("PartitionTimeLimit", "brief,long").prospect is Prospect.WAITS
    assert explain_reason("BadConstraints", "brief,long").prospect is Prospect.NEVER


def outcome(reason, age, releases=0):
    timeouts = Timeouts(blocked=600, away=3600, release=10)
    entry = QueueEntry("PENDING", reason)
    return decide(Observation(100 + age, None, False, entry, True, 100, releases), timeouts)[0]


@pytest.mark.parametrize("reason, patience", [("PartitionTimeLimit", 600), ("JobHeldUser", 3600)])
def test_what_cannot_start_or_is_held_is_given_up_after_its_patience(reason, patience):
    assert outcome(reason, patience - 1) is JobOutcome.WAIT and outcome(reason, patience) is JobOutcome.FAILED


def test_what_may_start_waits_without_end():
    assert outcome("Priority", 1e9) is outcome("QOSGrpCpuLimit", 1e9) is JobOutcome.WAIT


def test_what_slurm_held_is_released_three_times():
    assert outcome("launch failed requeued held", 9) is JobOutcome.WAIT
    ends = [outcome("launch failed requeued held", 11, releases) for releases in range(4)]
    assert ends == [JobOutcome.RELEASE] * 3 + [JobOutcome.FAILED]


def test_the_page_shows_every_reason_and_what_happens():
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in PAGE.read_text().splitlines()]
    shown = {row[0]: row for row in rows if len(row) == 3}
    for reason in REASONS:
        words = ", ".join(f"`{word.replace('_', ' ')}`" for word in reason.words.split())
        assert shown[words][1:] == (reason.prospect.value, reason.meaning), f"| {words} | {reason.prospect.value} |"


@pytest.mark.parametrize(
    "message, refusal",
    [
        ("Batch job submission failed: Unable to contact slurm controller (connect failure)", Refusal.LATER),
        ("Batch job submission failed: Socket timed out on send/recv operation", Refusal.LATER),
        ("Batch job submission failed: Required partition not available (inactive or drain)", Refusal.LATER),
        ("Batch job submission failed: I/O error writing script/environment to file", Refusal.LATER),
        ("If munged is up, restart with --num-threads=10", Refusal.LATER),
        ("Batch job submission failed: Resource temporarily unavailable", Refusal.LATER),
        ("[Errno 28] No space left on device: '/x/batch.json'", Refusal.LATER),
        (f"QOSMaxSubmitJobPerUserLimit sbatch: error: {POLICY}", Refusal.FEWER),
        (f"AssocGrpSubmitJobsLimit sbatch: error: {POLICY}", Refusal.FEWER),
        ("Batch job submission failed: Invalid job array specification", Refusal.FEWER),
        (f"QOSMaxCpuPerJobLimit sbatch: error: {POLICY}", Refusal.FOR_GOOD),
        (f"QOSMaxMemoryPerJob sbatch: error: {POLICY}", Refusal.FOR_GOOD),
        (f"QOSMinGRES sbatch: error: {POLICY}", Refusal.FOR_GOOD),
        (POLICY, Refusal.UNCLEAR),
        ("invalid partition specified: nope", Refusal.FOR_GOOD),
        ("Invalid account or account/partition combination specified", Refusal.FOR_GOOD),
        ("Requested node configuration is not available", Refusal.FOR_GOOD),
        ("Requested time limit is invalid (missing or exceeds some limit)", Refusal.FOR_GOOD),
        ("Access/permission denied", Refusal.FOR_GOOD),
        ("words of a site's own filter", Refusal.FOR_GOOD),
    ],
)
def test_a_refusal_is_judged_by_its_own_words(message, refusal):
    assert judge_refusal(message) is refusal
