"""The workflow before anything runs: what it would do, and how it says no."""

import os
from pathlib import Path

import forked_snakemake
import pytest

from petvr import config, planning
from petvr.data import datasets

ROOT = Path(__file__).parents[2]


def snakemake(*arguments, cwd=ROOT):
    environment = {key: value for key, value in os.environ.items() if key != "PETVR_CONFIG"}
    given = ["-s", ROOT / "Snakefile", "--directory", cwd, *arguments]
    return forked_snakemake.call(given, ROOT, environment)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    return tmp_path


def jobs(text):
    """Rule -> number of jobs, from Snakemake's statistics."""
    lines = text.split("Job stats:")[1].splitlines()[3:]
    stats = [line.split() for line in lines]
    return {parts[0]: int(parts[1]) for parts in stats[: stats.index([])]}


def test_full_configuration_expands_to_every_run_that_exists(folder, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = snakemake("-n", "--quiet", "rules", "--", "all_tables", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = jobs(done.stdout + done.stderr)
    assert found["train"] == len(planning.plan(config.load_config()).runs)
    assert found["table"] == found["track"] == 33


def test_with_every_method_there_are_732_training_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    full = planning.plan(config.load_config(), everything=True)
    assert len(full.training_runs) == 732 == len(planning.plan(config.load_config()).training_runs), "all of it exists"
    assert len(full.tables) == 33
    with_optional = planning.plan(config.load_config().model_copy(update={"optional": True}), everything=True)
    assert len(with_optional.training_runs) == 732 + 3 * 50


def test_any_run_can_be_asked_for_by_its_path(folder):
    """Another seed of a row, and a setting that stands in no table."""
    path = "results/runs/vop/msrvtt-7k/vit-b-32/vop@tokens=5/seed-7/result.json"
    done = snakemake("-n", "--quiet", "rules", "--", path, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert jobs(done.stdout + done.stderr)["train"] == 1


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (("seeds:", "sedes:"), ["config.yaml", "'sedes'", "did you mean 'seeds'"]),
        (("tables: all", "tables: [vop/table_9]"), ["unknown table 'vop/table_9'", "vop/table_6"]),
        (("# What", "# \udce9What"), ["config.yaml: cannot be read as UTF-8 (byte 0xe9 in line 1; Latin-1 perhaps)"]),
    ],
)
def test_a_broken_configuration_is_one_line_and_exit_code_2(folder, change, parts):
    """Read as a file, checked against its keys, and planned: each is answered at another place."""
    text = (folder / "config.yaml").read_text()
    assert change[0] in text
    (folder / "config.yaml").write_text(text.replace(*change), errors="surrogateescape")
    done = snakemake("-n", "all_tables", cwd=folder)
    assert done.returncode == 2
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("petvr: error: ") and all(part in line for part in parts), line


def test_a_method_that_does_not_exist_is_named_with_the_nearest(folder):
    done = snakemake("-n", "results/runs/vop/msvd/vit-b-32/vopx/seed-0/result.json", cwd=folder)
    assert done.returncode != 0
    assert "unknown method 'vopx' (did you mean 'vop'?)" in done.stderr + done.stdout


def test_demo_profile_plans_the_demo(folder):
    done = snakemake("--profile", "demo", "-n", "--", "all_tables", "all_figures", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = jobs(done.stdout + done.stderr)
    assert (found["world"], found["weights"]) == (5, 1)
    assert 2 * found["table"] + 4 == found["figure"] >= 12, "RAP's four need one of its runs"


def test_a_data_set_behind_a_login_is_left_out_with_one_line_and_on_request_asked_for(folder, monkeypatch):
    """Where any data set is there, a dry-run shows what a run would do; on an empty machine it shows the whole plan."""
    for name in ("LSMDC_USER", "LSMDC_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(folder / "none"))
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("tables: all ", "tables: [mv_adapter/table_10] "))
    videos = folder / "data" / "msvd" / "videos"

    def planned(target):
        done = snakemake("-n", "--quiet", "rules", "--", target, cwd=folder)
        assert done.returncode == 0, done.stderr
        return jobs(done.stdout + done.stderr), done.stderr

    whole, _ = planned("all_tables")
    videos.mkdir(parents=True)
    (videos / "a.avi").write_bytes(b"a")
    for path in datasets.load_dataset("msvd", videos.parent).annotation_files():
        path.write_text("")
    found, said = planned("all_tables")
    assert whole["train"] == 36 and found["train"] == 27
    assert (whole["download"], found["download"]) == (4, 2)
    assert said.count("petvr: lsmdc cannot be had: needs a login") == 1
    asked, _ = planned("data_lsmdc")
    assert asked["download"] == asked["data"] == asked["data_lsmdc"] == 1
