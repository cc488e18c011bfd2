"""What the workflow's rules take in, answered without a workflow."""

from pathlib import Path

import pytest
import yaml

from petvr import config, planning, workflow
from petvr.data import availability
from petvr.layout import Layout

ROOT = Path(__file__).parents[1]
TABLE = "mv_adapter/table_10"


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    for name in ("LSMDC_USER", "LSMDC_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    places = {name: str(tmp_path / name) for name in ("results", "data", "locks")}
    values = yaml.safe_load((ROOT / "config.yaml").read_text()) | places | {"tables": [TABLE]}
    given = config.validate_config({"config.yaml": values})
    return given, planning.plan(given)


def finish(given, run):
    path = Layout(given.results).result(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_a_missing_result_brings_the_folder_it_went_missing_from(project):
    given, plan = project
    runs = plan.tables[TABLE].runs
    given.results.mkdir()
    assert workflow.table_inputs(given, plan, TABLE, ())[-1] == given.results, "a table may come before any run"
    results = [finish(given, run) for run in runs]
    assert workflow.table_inputs(given, plan, TABLE, ()) == results
    results[0].unlink()
    assert workflow.table_inputs(given, plan, TABLE, ()) == [*results, results[0].parent]
    assert workflow.table_inputs(given, plan, TABLE, runs[:1]) == results[1:], "nobody waits for it"


def test_tables_wait_for_what_can_still_come(project):
    given, plan = project
    runs = plan.tables[TABLE].runs
    for run in runs[1:]:
        finish(given, run)
    assert workflow.unfinished_tables(given, plan, {TABLE}, ()) == [TABLE]
    assert workflow.unfinished_tables(given, plan, (), ()) == [], "nobody asked for it"
    assert workflow.unfinished_tables(given, plan, {TABLE}, runs[:1]) == []


def test_what_is_left_out_is_said_in_one_line_but_an_empty_machine_plans_everything(project):
    given, plan = project
    assert workflow.left_out(given, plan, dry_run=True) == {}
    left_out = workflow.left_out(given, plan, dry_run=False)
    assert list(left_out) == ["lsmdc"]
    (line,) = workflow.left_out_lines(plan, left_out)
    assert line.startswith("petvr: lsmdc cannot be had: needs a login. Left out: 9 runs; their rows in 1 table(s)")
    reasons = availability.not_run(given, plan, left_out)
    notes = workflow.table_data(given, plan, TABLE, reasons)
    assert [note for note in notes if "needs a login" in note] == [note for note in notes if note.startswith("lsmdc ")]


def test_a_failed_rules_last_lines_are_shown_once(tmp_path):
    (tmp_path / "rule.log").write_text("\n".join(map(str, range(9))))
    line = f"Command 'set -euo pipefail; petvr x > {tmp_path}/rule.log 2>&1' returned non-zero exit status 2.\n"
    (tmp_path / "snakemake.log").write_text(line * 2)
    (shown,) = workflow.failure_lines([tmp_path / "snakemake.log"])
    assert shown.split() == ["petvr:", "failed,", f"{tmp_path}/rule.log:", "4", "5", "6", "7", "8"]


def test_a_folder_of_one_job_has_no_shards(project):
    given, _ = project
    assert workflow.shard_indexes(given, "unheard_of", "uniform_mid", 12, 224) == []
    assert len(workflow.shard_indexes(given, "msvd", "uniform_mid", 12, 224)) == 2
