"""Names, resource requests, grouping, environment, and what submitit is told."""

import re
import string
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snakemake_interface_common.exceptions import WorkflowError

from snakemake_executor_plugin_submitit import resource_names
from snakemake_executor_plugin_submitit.environment import job_environment
from snakemake_executor_plugin_submitit.job_request import ResourceRequest, folder_name
from snakemake_executor_plugin_submitit.job_state import QueueEntry
from snakemake_executor_plugin_submitit.resource_names import RequestError, refuse_unknown, sbatch_options
from snakemake_executor_plugin_submitit.sbatch_helper import guarded_setup, sbatch_message, submitit_parameters
from snakemake_executor_plugin_submitit.settings import ExecutorSettings
from snakemake_executor_plugin_submitit.slurm_backend import group_into_arrays
from snakemake_executor_plugin_submitit.slurm_queue import parse_queue


class Job:
    def __init__(self, name, **request):
        self.name = name
        self.request = ResourceRequest(**request).asdict()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("partition", value) for value in ("", "a b", "profile/slurm")],
        *[("throttle", value) for value in (0, -1)],
        *[("poll_seconds", value) for value in (0, float("nan"), float("inf"))],
        *[("signal", value) for value in ("ZZZ", "")],
        *[("requeue_exit_codes", value) for value in ("x", "75,300", "0", "-1")],
        ("account", " "), ("runtime", 0), ("memory_overhead", -1), ("local_cores", 0), ("lost_seconds", -1),
    ],
)  # fmt: skip
def test_a_setting_that_no_cluster_takes_is_one_line(name, value):
    with pytest.raises(WorkflowError, match=rf"^submitit-{name.replace('_', '-')}: .* given, allowed: [^\n]*$"):
        ExecutorSettings(**{name: value})


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


@pytest.mark.slow
@given(st.dictionaries(st.text(string.ascii_lowercase, min_size=1, max_size=5), st.text(max_size=60), max_size=4))
def test_folder_names_are_safe_and_tell_wildcards_apart(wildcards):
    name = folder_name(wildcards, ["out"])
    assert 0 < len(name) <= 120 and "/" not in name and not name.startswith(".") and name.isascii()
    other = {**wildcards, "x": wildcards.get("x", "") + "/"}
    assert folder_name(other, ["out"]) != name


def test_a_run_id_stays_readable():
    wildcards = {"method": "vop_f+vop_p@tokens=8", "seed": "0"}
    assert folder_name(wildcards, []) == "method=vop_f+vop_p@tokens=8,seed=0"


def parameters(threads=1, settings=None, **resources):
    """What submitit is told for a job with these resources."""
    request = ResourceRequest.from_resources(resources, threads, settings or ExecutorSettings()).asdict()
    batch = {"name": "n", "needs": request, "folders": [1, 2, 3], "throttle": None, "setup": "", "signal_seconds": 120}
    return submitit_parameters(batch) | {"extra": sbatch_options(request["extra"])}


def test_a_request_comes_from_the_rule_then_the_profile():
    settings = ExecutorSettings(partition="gpu", account="mine", extra="--exclude=n7", runtime=99)
    resources = {"mem_mb": 5, "slurm_partition": "long", "gpu": 2, "slurm_extra": "--nice=3"}
    request = ResourceRequest.from_resources(resources, 4, settings)
    assert (request.partition, request.account, request.runtime) == ("long", "mine", 99)
    assert (request.gpu, request.threads) == (2, 4)
    asked = parameters(4, settings, **resources)
    assert asked["additional_parameters"] == {"requeue": True, "ntasks": 1}
    assert asked["extra"] == ["--exclude=n7", "--nice=3"]
    assert (asked["mem"], asked["gpus_per_node"], asked["array_parallelism"]) == ("5MB", 2, 3)


# every resource that snakemake-executor-plugin-slurm 2.8.0 reads, as its documentation and its calls of
# job.resources.get name them, with a value of each and what that plugin makes of it; and what is made of it here
OFFICIAL = {
    "slurm_partition": ("long", "--partition", {"partition": "long"}),
    "slurm_account": ("mine", "--account", {"account": "mine"}),
    "qos": ("fast", "--qos", {"qos": "fast"}),
    "constraint": ("a&b", "--constraint", {"constraint": "a&b"}),
    "runtime": (90, "--time, minutes", {"time": 90}),
    "mem_mb": (5, "--mem", {"mem": "5MB"}),
    "mem_mb_per_cpu": (5, "--mem-per-cpu", {"mem_per_cpu": "5MB"}),
    "cpus_per_task": (3, "--cpus-per-task, stronger than threads; left out below 0", {"cpus_per_task": 3}),
    "cpus_per_gpu": (3, "--cpus-per-gpu, for jobs with a GPU", {"cpus_per_task": 1}),  # this job has none
    "gpu": (2, "--gpus", {"gpus_per_node": 2}),
    "gpu_model": ("a100", "--gpus=MODEL:gpu, one unless gpu says more", {"gres": "gpu:a100:1"}),
    "gres": ("gpu:a100:2", "--gres", {"gres": "gpu:a100:2"}),
    "slurm_extra": ("--nice 150 -w n1", "added to the command line", {"extra": ["--nice=150", "-w", "n1"]}),
    "nodes": (1, "--nodes", {}),
    "tasks": (1, "--ntasks", {}),
    "tasks_per_node": (1, "--ntasks-per-node, for MPI", {}),
    "tasks_per_gpu": (1, "--ntasks-per-gpu", {}),
    "mpi": ("srun", "the job starts its own ranks", "no MPI"),
    "cluster": ("other", "--clusters", "this Slurm's configuration"),
    "clusters": ("other", "--clusters", "this Slurm's configuration"),
    "slurm_cluster": ("other", "--clusters", "this Slurm's configuration"),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_official_plugins_resources_are_understood_or_refused_with_a_word(name):
    value, _, here = OFFICIAL[name]
    if isinstance(here, str):
        with pytest.raises(RequestError, match=f"{name}={value}: .*{here}"):
            refuse_unknown({name: value}, (), None)
        return
    refuse_unknown({name: value}, (), None)
    asked, plain = parameters(**{name: value}), parameters()
    assert {key: asked.get(key) for key in here} == here
    assert here == {} or asked != plain or name == "cpus_per_gpu"  # it does not come to nothing


@pytest.mark.parametrize(
    "resources, asked",
    [
        ({"gpu": "a100:2"}, {"gres": "gpu:a100:2"}),
        ({"gpus": "a100"}, {"gres": "gpu:a100:1"}),
        ({"gpu": "2"}, {"gpus_per_node": 2}),
        ({"gpu": "1g.5gb:1"}, {"gres": "gpu:1g.5gb:1"}),
        ({"gpu": 1, "gres": "gpu:1"}, {"gres": "gpu:1", "gpus_per_node": None}),  # where a site refuses --gpus*
        ({"gpu": 1, "gres": "tmp:50G"}, {"gres": "tmp:50G,gpu:1"}),
        ({"gres": "shard:4"}, {"gres": "shard:4"}),
        ({"gpu": 2, "cpus_per_gpu": 3, "mem_mb_per_gpu": 100}, {"cpus_per_task": 6, "mem": "200MB"}),
        ({"cpus_per_task": -1}, {"cpus_per_task": None, "srun_args": ["--export=ALL", "--nodes=1", "--ntasks=1"]}),
        ({"runtime": 0}, {"time": 1}),  # Snakemake makes 0.5 minutes 0; it must not become the default of 60
        ({"reservation": "r", "nodelist": "n1", "exclude": "n2"}, {"nodelist": "n1", "exclude": "n2"}),
        ({"slurm_extra": "'--qos=long --mail-type=ALL'"}, {"extra": ["--qos=long", "--mail-type=ALL"]}),
        ({"slurm_extra": "--comment='two words' -wn1"}, {"extra": ["--comment=two words", "-wn1"]}),
    ],
)
def test_other_forms(resources, asked):
    known = parameters(**resources)
    assert {name: known.get(name) for name in asked} == asked


@pytest.mark.parametrize(
    "resources, words",
    [
        ({"gpu": "a100:x"}, "gpu=a100:x: a number, a model or model:number"),
        ({"gpu": 1, "gres": "gpu:2"}, "different numbers"),
        ({"gpu": "a100", "gpu_model": "v100"}, "two models"),
        ({"nodes": 2}, "nodes=2: a job is one process"),
        ({"tasks": 4}, "tasks=4: a job is one process"),
        ({"mem_mb": "lots"}, "mem_mb=lots: must be a whole number"),
        ({"mem_mb_per_gpu": 5}, "asks for no GPU"),
        ({"slurm_extra": "--job-name=x"}, "--job-name=x is for this executor"),
        ({"slurm_extra": "--array 1-3"}, "--array is for this executor"),
        ({"slurm_extra": "--arr=1-3"}, "--arr=1-3 is for this executor"),
        ({"slurm_extra": "-t 5"}, "the resource runtime does it"),
        ({"slurm_extra": "--gres=gpu:1"}, "the resource gres does it"),
        ({"slurm_extra": "job.sh"}, "job.sh is no option"),
        ({"slurm_extra": "--comment='x"}, "No closing quotation"),
        ({"nvidia_gpu": 1}, "did you mean gpu"),
        ({"slurm_partitoin": "x"}, "did you mean slurm_partition"),
    ],
)
def test_what_cannot_be_passed_on_is_an_error(resources, words):
    with pytest.raises(RequestError, match=re.escape(words)):
        refuse_unknown(resources, (), None)
        parameters(**resources)


def test_a_resource_that_snakemake_counts_or_the_profile_names_is_none_of_slurms():
    refuse_unknown({"downloads": 1, "_cores": 1, "tmpdir": "/tmp", "disk_mb": 5}, ("downloads",), None)
    refuse_unknown({"io": 1, "time_min": 3}, (), "io, time_*")
    with pytest.raises(RequestError, match="the resource downloads means nothing"):
        refuse_unknown({"downloads": 1}, (), "io")


def test_jobs_that_ask_differently_in_anything_share_no_array():
    """Each way of asking there is, beside a job that asks for nothing."""
    asking = [{name: value} for name, (value, _, here) in OFFICIAL.items() if here and not isinstance(here, str)]
    asking += [{}, {"reservation": "r"}, {"nodelist": "n1"}, {"exclude": "n1"}, {"gres": "shard:1"}, {"gpu": 1}]
    asking = [one for one in asking if one != {"cpus_per_gpu": 3}]
    jobs = [Job(i) for i, _ in enumerate(asking)]
    for job, resources in zip(jobs, asking, strict=True):
        job.request = ResourceRequest.from_resources(resources, 1, ExecutorSettings()).asdict()
    assert len(group_into_arrays(jobs, 99)) == len(jobs)


def test_the_signal_leaves_a_short_job_most_of_its_time():
    assert [parameters(runtime=minutes)["signal_delay_s"] for minutes in (1, 4, 600)] == [15, 60, 120]


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
    text = "12_3|CANCELLED by 0|0:0|n1|main|job.ab\n12_3.batch|FAILED|1:0|n1||batch\n13|PENDING|Priority||a,b|x|y\n\nno"
    assert parse_queue(text) == {
        "12_3": ("job.ab", QueueEntry("CANCELLED", "0:0", "n1", "main")),
        "13": ("x|y", QueueEntry("PENDING", "Priority", "", "a,b")),
    }


def test_sbatchs_own_words_are_what_the_user_reads():
    text = "Traceback ...\nsbatch: error: invalid partition specified: nope\nsbatch: error: Batch job submission failed"
    assert (
        sbatch_message(text)
        == "sbatch: error: invalid partition specified: nope sbatch: error: Batch job submission failed"
    )


def test_the_readme_lists_every_resource():
    text = (Path(resource_names.__file__).parent / "README.md").read_text()
    assert not [name for name in resource_names.UNDERSTOOD if f"`{name}`" not in text]


@pytest.mark.parametrize(
    "commands, code",
    [
        ("true", 0),
        ("false || true", 0),
        ("inner() { false; true; }; inner", 0),  # what a command does inside is its own affair
        ("false; true", 78),
        ("false && true", 78),
        ("true && false", 78),
        ("module load nosuch", 78),
    ],
)
def test_a_set_up_command_that_fails_stops_the_job(commands, code):
    script = "\n".join([*guarded_setup(commands), "echo begun"])
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "" if code else "begun\n")
    assert bool(code) == ("submitit-setup: exit code" in done.stderr)
