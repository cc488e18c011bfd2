"""The clock is set back: nothing that was made before is taken for damaged, and nothing that is made now for old."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.papers.plan import Plan
from petvr.workflow_start import require_dates, start_lines

YEAR = 365 * 24 * 3600
SCRIPT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import training_bench as tiny
from petvr import atomic
from petvr.commands import verify
from petvr.config import Config
from petvr.layout import Layout

folder = Path(sys.argv[2])
layout, spec = Layout(folder / "results"), tiny.spec("bias", epochs=1)
options = tiny.arguments(folder) | {"out": layout.run(spec), "state": layout.state(spec), "checkpoint_steps": 1}
if len(sys.argv) > 3:
    tiny.everything(folder)
with atomic.file_lock(folder / "lock", "busy"):
    result = tiny.train(spec, **options)
print(time.strftime("%Y"), result.evaluations[-1].plain["t2v"]["R@1"])
sys.exit(verify.run(type("Arguments", (), {"only": None})(), Config.model_construct(results=layout.results)))
"""


@pytest.mark.slow
def test_a_year_back_a_run_reads_what_is_there_and_gives_the_same_numbers(tmp_path):
    if not shutil.which("faketime"):
        pytest.skip("no faketime here: apt install faketime")
    words = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent / "training"), str(tmp_path)]
    environment = os.environ | {"DONT_FAKE_MONOTONIC": "1"}
    runs = [
        subprocess.run([*before, *words, *after], capture_output=True, text=True, env=environment)
        for before, after in (([], ["new"]), (["faketime", "-f", f"-{YEAR}s"], []))
    ]
    assert [one.returncode for one in runs] == [0, 0], runs
    (now, same), (before, again) = (one.stdout.split()[:2] for one in runs)
    assert int(now) - int(before) == 1 and same == again


@pytest.fixture
def ahead(tmp_path):
    """`ahead(name, ...)` makes files that are dated a year from now."""

    def make(*names):
        for path in (tmp_path / name for name in names):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
            os.utime(path, (time.time() + YEAR,) * 2)
        return [tmp_path / name for name in names]

    return make


def test_files_of_ours_from_the_future_are_dated_now_before_a_workflow_starts(tmp_path, ahead):
    """Snakemake removes the result of a job whose input is newer, after hours of training."""
    files = ahead(
        "results/manifests/msvd.json",
        "results/weights/tiny/model.safetensors",
        "results/frames/msvd/round_1fps-3f-48px/index.json",
        "results/frames/msvd/round_1fps-3f-48px/shard-1-of-2/index.json",
        "results/tables/vop/table_3.md",
        "results/mlflow/vop/table_3.synced",
    )
    lines = start_lines(Layout(tmp_path / "results"), Plan({}, {}, {}, {}), tmp_path / ".snakemake")
    assert sum("and 5 more were dated in the future, and are dated now" in line for line in lines) == 1
    assert all(path.stat().st_mtime <= time.time() for path in files)
    again = start_lines(Layout(tmp_path / "results"), Plan({}, {}, {}, {}), tmp_path / ".snakemake")
    assert not any("in the future" in line for line in again)


def test_a_persons_file_from_the_future_is_said_and_left_as_it_is(ahead):
    (mark, captions) = ahead("world.json", "my captions.csv")
    with pytest.raises(PetvrError, match=r"my captions\.csv: dated .*, in the future.*touch '.*my captions\.csv'"):
        require_dates([mark, captions])
    assert mark.stat().st_mtime <= time.time() < captions.stat().st_mtime
    os.utime(captions)
    require_dates([mark, captions])
