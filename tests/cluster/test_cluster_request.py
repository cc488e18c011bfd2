"""Names, resource requests, grouping, environment, and what submitit is told."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_submitit.environment import job_environment
from snakemake_executor_plugin_submitit.job_request import ResourceRequest, folder_name
from snakemake_executor_plugin_submitit.job_state import QueueEntry
from snakemake_executor_plugin_submitit.sbatch_helper import may_work_later, sbatch_message, submitit_parameters
from snakemake_executor_plugin_submitit.settings import ExecutorSettings
from snakemake_executor_plugin_submitit.slurm_backend import group_into_arrays
from snakemake_executor_plugin_submitit.slurm_queue import parse_queue


class Job:
    def __init__(self, name, **request):
        self.name = name
        self.request = ResourceRequest(**request).asdict()


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 7))
def test_arrays_hold_equal_requests_lose_nothing_and_respect_the_largest_size(kinds, max_size):
    jobs = [Job(i, gpu=kind) for i, kind in enumerate(kinds)]
    groups = group_into_arrays(jobs, max_size)
    assert sorted(job.name for group in groups for job in group) == list(range(len(kinds)))
    assert all(len(group) <= max_size and len({job.request["gpu"] for job in group}) == 1 for group in groups)
    assert len(groups) == sum(-(-kinds.count(kind) // max_size) for kind in set(kinds))  # as few as can be


def test_the_whole_grid_is_few_submissions():
    grid = [Job(i, gpu=1, mem_mb=64000 + 16000 * (i % 3)) for i in range(732)]
    assert len(group_into_arrays(grid, 1001)) == 3


@given(st.dictionaries(st.text(string.ascii_lowercase, min_size=1, max_size=5), st.text(max_size=60), max_size=4))
def test_folder_names_are_safe_and_tell_wildcards_apart(wildcards):
    name = folder_name(wildcards, ["out"])
    assert 0 < len(name) <= 120 and "/" not in name and not name.startswith(".") and name.isascii()
    other = {**wildcards, "x": wildcards.get("x", "") + "/"}
    assert folder_name(other, ["out"]) != name


def test_a_run_id_stays_readable():
    wildcards = {"method": "vop_f+vop_p@tokens=8", "seed": "0"}
    assert folder_name(wildcards, []) == "method=vop_f+vop_p@tokens=8,seed=0"


def test_a_request_comes_from_the_rule_then_the_profile():
    settings = ExecutorSettings(partition="gpu", account="mine", extra="--exclude=n7", runtime=99)
    resources = {"mem_mb": 5, "slurm_partition": "long", "gpu": 2, "slurm_extra": "--nice=3"}
    request = ResourceRequest.from_resources(resources, 4, settings)
    assert (request.partition, request.account, request.runtime) == ("long", "mine", 99)
    assert (request.gpu, request.threads) == (2, 4)
    batch = {"name": "n", "needs": request.asdict(), "folders": [1, 2, 3], "throttle": None, "setup": ""}
    parameters = submitit_parameters({**batch, "signal_seconds": 120})
    assert parameters["additional_parameters"] == {"requeue": True, "ntasks": 1, "exclude": "n7", "nice": "3"}
    assert (parameters["mem"], parameters["gpus_per_node"], parameters["array_parallelism"]) == ("5MB", 2, 3)


def test_the_signal_leaves_a_short_job_most_of_its_time():
    def delay(minutes):
        request = ResourceRequest(runtime=minutes).asdict()
        batch = {"name": "n", "needs": request, "folders": [1], "throttle": 1, "setup": "", "signal_seconds": 120}
        return submitit_parameters(batch)["signal_delay_s"]

    assert (delay(1), delay(4), delay(600)) == (15, 60, 120)


def test_jobs_get_the_usual_variables_the_chosen_ones_and_no_others():
    env = {"PATH": "/bin", "PYTHONPATH": "/src", "SECRET_TOKEN": "x", "HF_HOME": "/hf", "LC_ALL": "C"}
    env |= {"SBATCH_PARTITION": "high", "SLURM_JOB_ID": "7", "SLURM_NTASKS": "9", "SLURM_CONF": "/etc/slurm.conf"}
    plain = {"PATH": "/bin", "PYTHONPATH": "/src", "LC_ALL": "C", "SLURM_CONF": "/etc/slurm.conf"}
    assert job_environment(env, None, {}) == plain
    assert job_environment(env, "HF_*", {"KEY": "declared"}) == {**plain, "HF_HOME": "/hf", "KEY": "declared"}
    everything = job_environment(env, "all", {})
    assert (
        everything["SECRET_TOKEN"] == "x" and "SBATCH_PARTITION" not in everything and "SLURM_NTASKS" not in everything
    )


def test_lines_of_squeue_and_sacct_are_read():
    text = "12_3|job.ab|CANCELLED by 0|0:0|n1\n12_3.batch|batch|FAILED|1:0|n1\n13|x|PENDING|Priority|\n\nnonsense"
    assert parse_queue(text) == {
        "12_3": ("job.ab", QueueEntry("CANCELLED", "0:0", "n1")),
        "13": ("x", QueueEntry("PENDING", "Priority", "")),
    }


POLICY = (
    "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
)


@pytest.mark.parametrize(
    "message, later",
    [
        ("Batch job submission failed: Unable to contact slurm controller (connect failure)", True),
        (f"QOSMaxSubmitJobPerUserLimit sbatch: error: {POLICY}", True),
        (f"QOSMaxCpuPerJobLimit sbatch: error: {POLICY}", False),
        ("invalid partition specified: nope", False),
    ],
)
def test_what_can_never_be_granted_is_not_asked_for_again(message, later):
    assert may_work_later(message) is later


def test_sbatchs_own_words_are_what_the_user_reads():
    text = "Traceback ...\nsbatch: error: invalid partition specified: nope\nsbatch: error: Batch job submission failed"
    assert (
        sbatch_message(text)
        == "sbatch: error: invalid partition specified: nope sbatch: error: Batch job submission failed"
    )
