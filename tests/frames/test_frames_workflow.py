"""The workflow decodes a large folder in shards, one job each, and what it had is not decoded again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from petvr import config
from petvr.data import catalogue
from petvr.data.frames.store import FrameStore

ROOT = Path(__file__).parents[2]
MICRO = {
    "tables": ["cross_modal_adapter/table_2"],
    "datasets": ["msvd"],
    "results": "results",
    "data": "data",
    "frames": {"videos_per_shard": 5},
    "world": {"sizes": {"msvd": {"train": 8, "val": 1, "test": 6}}},
    "recipe": {"datasets": {"msvd": {"batch": 8}}},
}
STORE = "results/frames/msvd/uniform_mid-3f-64px"


def test_how_many_shards_is_known_without_any_file(monkeypatch):
    monkeypatch.chdir(ROOT)
    real = config.load_config()
    assert catalogue.frame_shards(real, "msrvtt") == 10  # 9k + 1k-A, the larger of the two data sets in the folder
    assert catalogue.frame_shards(real, "msvd") == 2
    assert catalogue.frame_shards(real, "unheard_of") == 1
    few = real.model_copy(update={"frames": config.FrameStores(videos_per_shard=5000, shards={"mine": 7})})
    assert [catalogue.frame_shards(few, name) for name in ("msrvtt", "mine")] == [2, 7]
    demo = config.load_config(["demo"])
    assert {catalogue.frame_shards(demo, name) for name in demo.world.sizes} == {1}, "the demo pays for no further job"


@pytest.mark.slow
def test_one_job_a_shard_and_one_for_the_index(tmp_path):
    (tmp_path / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    (tmp_path / "micro.yaml").write_text(yaml.safe_dump(MICRO))
    store = tmp_path / STORE

    def jobs(*more):
        """Rule -> how many jobs of it ran."""
        environment = {key: value for key, value in os.environ.items() if key != "PETVR_CONFIG"}
        command = [
            sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", "-d", tmp_path, "--configfile",
            ROOT / "workflow" / "demo.yaml", tmp_path / "micro.yaml", "--cores", "2", "--quiet", "rules",
            "--rerun-triggers", "mtime", "params", "--config", *more, "--", f"{STORE}/index.json",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=3000)
        text = done.stdout + done.stderr
        assert done.returncode == 0, text
        if "Job stats:" not in text:
            return {}
        lines = [line.split() for line in text.split("Job stats:")[1].splitlines()[3:]]
        return {parts[0]: int(parts[1]) for parts in lines[: lines.index([])] if parts[0] != "total"}

    ran = jobs("seeds=[0]")
    assert (ran["frames_shard"], ran["frames"]) == (3, 1)
    whole = FrameStore(store)
    assert len(whole) == 14 and whole.verify() == {}
    assert sorted(path.name for path in store.glob("shard*")) == [f"shard-{n}-of-3" for n in (1, 2, 3)]
    assert jobs("seeds=[0]") == {}
    for place in (store, store / "shard-2-of-3"):  # what Snakemake leaves of jobs that were killed at their very end
        (place / "index.json").unlink()
    assert jobs("seeds=[0]") == {"frames_shard": 1, "frames": 1}
    log = (tmp_path / "results/logs/frames/msvd-uniform_mid-3f-64px-2-of-3.log").read_text()
    assert "msvd 2/3: 0 videos decoded" in log, log
    assert FrameStore(store).digest == whole.digest
    assert jobs("seeds=[0]", "frames={videos_per_shard: 8}") == {}, "a sound store is left as it is, however it is cut"
