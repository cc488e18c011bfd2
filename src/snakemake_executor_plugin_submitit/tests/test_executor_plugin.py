"""What a foreign workflow and Snakemake's catalogue of plugins rely on; needs Snakemake and this package alone."""

import dataclasses
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import snakemake_executor_plugin_submitit as plugin

WORKFLOW = """
rule all:
    input: expand("out/{i}.txt", i=range(3))
rule once:
    output: "once.txt"
    shell: "echo made by {threads} > {output}"
rule each:
    input: "once.txt"
    output: "out/{i}.txt"
    threads: 1
    resources: runtime=5, mem_mb=100
    shell: "cat {input} > {output}; test {wildcards.i} != {config[broken]}"
"""


@pytest.fixture
def snakemake(tmp_path):
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--executor",
        "submitit",
        "--submitit-cluster",
        "local",
        "--jobs",
        "4",
    ]
    command += ["--latency-wait", "1", "--rerun-incomplete", "--config"]
    return lambda broken: subprocess.run([*command, f"broken={broken}"], cwd=tmp_path, capture_output=True, text=True)


@pytest.mark.slow
def test_a_workflow_runs_and_one_that_fails_says_why_and_goes_on(snakemake, tmp_path):
    failed = snakemake(broken=2)
    assert failed.returncode == 1 and "exit code 1" in failed.stderr, failed.stderr
    done = snakemake(broken="none")
    assert done.returncode == 0, done.stderr
    assert [path.read_text() for path in sorted((tmp_path / "out").iterdir())] == ["made by 1\n"] * 3
    submitted = [json.loads(line) for line in (tmp_path / ".snakemake/submitit/ledger.jsonl").read_text().splitlines()]
    assert submitted


def test_settings_are_what_the_catalogue_reads():
    for field in dataclasses.fields(plugin.ExecutorSettings):
        assert field.metadata["help"], field.name
        assert json.dumps(field.default) != "", field.name
    assert plugin.common_settings.non_local_exec


def test_a_start_of_snakemake_pays_for_no_executor():
    """Snakemake imports every package of this prefix at every start, whether or not it is used."""
    code = "import sys, snakemake_executor_plugin_submitit; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"submitit", "snakemake", "snakemake_interface_executor_plugins", "asyncio"} & set(loaded)


def test_the_changelog_begins_with_this_version():
    folder = Path(__file__).parents[1]
    headings = [line[3:] for line in (folder / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0] == tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"]
