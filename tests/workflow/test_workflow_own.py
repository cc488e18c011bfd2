"""A user's own videos, one csv file and no code, down the whole road to a table."""

import csv
import json
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from test_workflow_run import HOSTILE, RESULTS, Project

import petvr
from petvr.world import build, video

pytestmark = pytest.mark.slow
RUN = "vop/mine/tiny/vop@tokens=2/seed-0"
TABLE = "own/mine"
TARGETS = [f"{RESULTS}/tables/{TABLE}.md", "index_clips"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Eight clips beside their csv file, outside the project; one more that the file names is not there."""
    folder, mine = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("mine")
    rows = []
    for number, clip in enumerate(build.plan_clips("lsmdc", {"train": 5, "test": 3}, seed=3)):
        name = f"clips of {clip.split}/{number} {HOSTILE}.avi"
        video.write_video(clip.scene, mine / name)
        rows += [(name, text, clip.split) for text in (clip.captions[0].text, f"take {number}")]
    rows.append(("gone.mp4", "a clip that was lost", "test"))
    with open(mine / "captions.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([("video", "caption", "split"), *rows])
    own = {"captions": str(mine / "captions.csv"), "paper": "vop", "tune": True}
    own["methods"] = ["zero_shot", "vop@tokens=2"]
    with Project(folder) as project:
        demo = yaml.safe_load((folder / "workflow/demo.yaml").read_text())
        demo["recipe"] = {"default": {"captions": "one_per_video", "precision": "fp32"}}  # no rates: they are tuned
        (folder / "workflow/demo.yaml").write_text(yaml.safe_dump(demo))
        settings = yaml.safe_load((project.folder / "micro.yaml").read_text())
        settings |= {"custom_datasets": {"mine": own}, "datasets": ["mine"], "tables": [TABLE], "seeds": [0]}
        settings["tuning"] = {"trials": 2, "rungs": [1], "keep": []}
        settings["indexes"] = {"clips": {"videos": str(mine), "model": RUN, "shards": 2}}
        (project.folder / "micro.yaml").write_text(yaml.safe_dump(settings))
        ran = project.snakemake(*TARGETS)
        table = {"data": 1, "frames": 1, "weights": 1, "tune_trial": 2, "tune_decide": 1, "train": 2, "table": 1}
        assert ran == table | {"index_shard": 2, "index_joined": 1, "index_clips": 1}
        yield project


def test_the_table_shows_the_methods_and_says_what_the_data_are(project):
    text = (project.folder / RESULTS / "tables" / f"{TABLE}.md").read_text()
    assert "Own data, mine" in text and "synthetic" not in text
    assert "zero\\_shot" in text and "vop@tokens=2" in text
    assert "3 of 4" in text, "the lost clip is counted"
    assert "paper prints" not in text and "Δ" not in text


def test_the_table_and_petvr_tune_name_the_best_method_and_how_it_is_searched(project):
    text = (project.folder / RESULTS / "tables" / f"{TABLE}.md").read_text()
    command = f'petvr search --run {RUN} "a sentence"'
    assert f"Search with the tuned method that is best on validation: `{command}`" in text
    said = project.petvr("tune").stdout.splitlines()
    assert said[-2:] == [f"mine: best on validation of what was tuned: {RUN.removesuffix('/seed-0')}; search with it:",
                         f"  {command}"]  # fmt: skip
    found = project.petvr(*shlex.split(command)[1:], "--json")
    assert found.returncode == 0 and len(json.loads(found.stdout)["results"]) == 3, found.stderr


def test_the_result_stands_on_the_users_videos(project):
    result = json.loads(project.result(RUN).read_text())
    assert result["data"]["world"] == "real" and result["data"]["missing"] == ["gone.mp4"]
    assert (result["data"]["train_videos"], result["data"]["test_videos"]) == (5, 3)
    assert result["data"]["test_captions"] == 6, "each caption is a query"
    index = json.loads((project.folder / RESULTS / "frames/mine/uniform_mid-3f-48px/index.json").read_text())
    assert len(index["videos"]) == 8 and not any("gone" in name for name in index["videos"])
    assert not list(project.folder.rglob("x")), "nothing in a video's name was executed"


def test_a_folder_is_indexed_in_shards_and_a_new_file_costs_one_shard_and_no_table(project):
    settings = yaml.safe_load((project.folder / "micro.yaml").read_text())
    videos = Path(settings["custom_datasets"]["mine"]["captions"]).parent
    folder = project.folder / RESULTS / "indexes" / "clips"
    index = petvr.Index.load(folder, petvr.load(project.result(RUN)))
    assert len(index) == 8 and {one.video for one in index.search("a red shape", k=99)} == set(index.videos)
    old = {path: path.stat().st_mtime_ns for path in folder.glob("shard-*/part-*/vectors.npy")}
    shutil.copy(sorted(videos.rglob("*.avi"))[0], videos / "new one.avi")
    assert project.snakemake(*TARGETS) == {"index_shard": 1, "index_joined": 1, "index_clips": 1}
    assert len(petvr.Index.load(folder)) == 9 and all(path.stat().st_mtime_ns == old[path] for path in old)
    assert not list(project.folder.rglob("x")), "nothing in a video's name was executed"


def test_a_line_more_in_the_file_reads_the_data_anew(project):
    settings = yaml.safe_load((project.folder / "micro.yaml").read_text())
    with open(settings["custom_datasets"]["mine"]["captions"], "a", newline="") as stream:
        csv.writer(stream).writerow([f"clips of test/7 {HOSTILE}.avi", "one more query", "test"])
    assert project.snakemake(TARGETS[0], dry=True)["data"] == 1
