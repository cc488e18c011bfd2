"""petvr's wheel in an environment and a folder that know nothing of the repository."""

import shutil
import subprocess
import zipfile

import numpy
import pytest
import yaml
from linked_environment import PLUGIN, ROOT, LinkedEnvironment

pytestmark = pytest.mark.slow


def test_the_wheel_holds_every_file_of_the_package_and_of_the_workflow(petvr_wheel):
    links = {
        ROOT / "src/petvr/pipeline" / name: ROOT / name
        for name in ("workflow", "slurm", "demo", "config.yaml", "envs/petvr.yaml")
    }
    listed = subprocess.run(["git", "ls-files", "src", "--", *links.values()], cwd=ROOT, capture_output=True, text=True)
    expected = set()
    for path in (ROOT / name for name in listed.stdout.split()):
        for link, target in links.items():
            if path.is_relative_to(target):
                expected.add((link / path.relative_to(target)).relative_to(ROOT / "src").as_posix())
        if path.is_relative_to(ROOT / "src") and path.is_file() and path not in links:
            expected.add(path.relative_to(ROOT / "src").as_posix())
    expected = {name for name in expected if not name.startswith(PLUGIN.name)}
    held = {name for name in zipfile.ZipFile(petvr_wheel).namelist() if ".dist-info/" not in name}
    assert held == expected
    assert "petvr/pipeline/workflow/Snakefile" in held and "petvr/search/page/app.js" in held


RUN = "rap/msvd/tiny/lora@rank=8/seed-0"
MICRO = {
    "tables": ["rap/table_2"],
    "datasets": ["msvd"],
    "methods": ["lora"],
    "seeds": [0],
    # two steps: warm-up makes the first one nothing
    "recipe": {"default": {"batch": 4, "frames": 3, "words": 24}, "datasets": {"msvd": {"epochs": 1}}},
    "world": {"sizes": {"msvd": {"train": 8, "val": 2, "test": 6}}, "tiny_clip": {"steps": 4, "batch": 16}},
}


@pytest.fixture(scope="module")
def light(petvr_wheel, tmp_path_factory):
    """`pip install petvr peft`, without extras."""
    return LinkedEnvironment(tmp_path_factory.mktemp("light"), {petvr_wheel: ""}, "peft")


@pytest.fixture(scope="module")
def full(petvr_wheel, plugin_wheel, tmp_path_factory):
    """`pip install petvr[workflow]`, as on a machine for which there is no decord."""
    wheels = {petvr_wheel: "workflow", plugin_wheel: ""}
    return LinkedEnvironment(tmp_path_factory.mktemp("full"), wheels, machine="aarch64")


@pytest.fixture(scope="module")
def project(full, tmp_path_factory):
    """A folder of `petvr init` in which the demo's world, a few videos of it, went all the way to a table."""
    folder = tmp_path_factory.mktemp("project")
    done = full.run("petvr", "init", ".", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "micro.yaml").write_text(yaml.safe_dump(MICRO))
    command = "python -m snakemake --profile demo --cores 2 --configfile workflow/demo.yaml micro.yaml --"
    done = full.run(*command.split(), "results/demo/tables/rap/table_2.md", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_init_makes_a_folder_where_the_workflow_runs(full, project):
    assert "LoRA" in (project / "results/demo/tables/rap/table_2.md").read_text()
    assert full.run("python", "-c", "import decord", cwd=project).returncode == 1
    assert '"decoder": "pyav' in next((project / "results/demo/frames").rglob("index.json")).read_text()
    again = full.run("petvr", "init", ".", cwd=project)
    assert again.returncode == 2 and "config.yaml: is there already" in again.stderr


def test_the_real_configuration_is_planned_there(full, project):
    """All papers are read; the jobs are laid out of one table, for all of them it takes long."""
    command = "python -m snakemake --cores 2 -n --quiet rules -- results/tables/rap/table_1.md"
    planned = full.run(*command.split(), cwd=project)
    assert planned.returncode == 0 and "warning" not in planned.stderr, planned.stderr
    jobs = dict(line.split()[:2] for line in planned.stdout.splitlines() if line.count(" ") and line[0].isalpha())
    assert jobs["table"] == "1" and int(jobs["train"]) > 40
    runs = full.run("petvr", "plan", cwd=project).stdout
    assert int(runs.partition(" ")[0]) > 700 and "vop/table_6" in runs, runs


SHARE = """
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from transformers import CLIPModel

import petvr
from petvr.cli import main

RUN = "results/demo/runs/rap/msvd/tiny/lora@rank=8/seed-0"
WEIGHTS = "results/demo/weights/tiny"
videos = sorted(Path("results/demo/data").rglob("*.mp4"))[:3]
texts = ["a red square moves left", "a circle appears"]
model = petvr.load(RUN, device="cpu")
scores = model.score(model.encode_text(texts), model.encode_video(videos))
assert scores.shape == (2, 3)
index = petvr.Index.build(model, videos)
index.save("clips.index")
best = petvr.Index.load("clips.index", model).search(texts[0], k=1)[0]
assert abs(best.score - scores[0].max()) < 1e-3, (best, scores)

petvr.export(RUN, "shared")
again = petvr.load("shared", device="cpu", backbone=WEIGHTS)
assert np.array_equal(again.score(texts, videos), scores)

petvr.export(RUN, "shared-peft", peft=True)
base = CLIPModel.from_pretrained(WEIGHTS).eval()
tokens = torch.tensor([[base.config.text_config.bos_token_id, 5, 6, 7, base.config.text_config.eos_token_id]])


def features(clip):
    with torch.no_grad():
        out = clip.text_model(input_ids=tokens)
        return clip.text_projection(out.pooler_output)


plain = features(base)
moved = features(PeftModel.from_pretrained(base, "shared-peft").eval())
assert 0 < float((moved - plain).abs().max()), "the adapter moved nothing"

assert main(["export", RUN, "--to", "by-command"]) == 0
"""


def test_a_run_is_loaded_searched_exported_and_loaded_again_by_the_light_install_and_by_peft(light, project, tmp_path):
    (tmp_path / "results").symlink_to(project / "results")
    done = light.run("python", "-c", SHARE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "by-command/README.md").exists()


FOREIGN = """
import importlib.resources
module petvr:
    snakefile: str(importlib.resources.files("petvr") / "pipeline/workflow/Snakefile")
    config: config["retrieval"] | {"seeds": [7]}
    MORE
use rule * from petvr
rule mine:
    input: "results/tables/rap/table_1.csv"
    output: "copied.csv"
    shell: "cp {input} {output}"
"""


def test_another_workflow_uses_it_as_a_module(full, project, tmp_path):
    shipped = yaml.safe_load((project / "config.yaml").read_text())
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"retrieval": shipped}))
    command = "python -m snakemake --cores 2 --configfile own.yaml -n -- mine"
    (tmp_path / "Snakefile").write_text(FOREIGN.replace("MORE", ""))
    done = full.run(*command.split(), cwd=tmp_path)
    assert done.returncode == 0 and "rap/msrvtt-9k/vit-b-32/lora@rank=8/seed-7/result.json" in done.stdout, done.stderr
    (tmp_path / "Snakefile").write_text(FOREIGN.replace("MORE", 'prefix: "elsewhere"'))
    done = full.run(*command.split(), cwd=tmp_path)
    assert done.returncode == 2 and "module: prefix moves what Snakemake waits for" in done.stderr


def test_what_needs_no_configuration_and_no_extra_works_anywhere(light, project, tmp_path):
    numpy.save(tmp_path / "scores.npy", numpy.eye(4, dtype="float32") + numpy.arange(4, dtype="float32"))
    shutil.copy(project / "results/demo/runs" / RUN / "result.json", tmp_path)
    video = next((project / "results/demo/data").rglob("*.mp4"))
    for words, code, text in [
        (("score", "scores.npy"), 0, "R@1"),
        (("show", "result.json"), 0, RUN),
        (("videos", video), 0, "by decord too"),
        (("search", "--run", "x", "a dog runs"), 2, "there is no finished run below results/runs yet"),
        (("plan",), 2, "petvr init FOLDER makes one"),
    ]:
        done = light.run("petvr", *words, cwd=tmp_path)
        assert (done.returncode, text in done.stdout + done.stderr) == (code, True), (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr


LACKING = """
import importlib.util
from petvr.cli import main
for name in ("snakemake", "submitit", "mlflow", "fastapi", "pandas", "matplotlib"):
    assert importlib.util.find_spec(name) is None, name
assert main(["init", "."]) == 0
codes = [main(["serve", "--run", "x"]), main(["mlflow"]), main(["figure", "rap/figure_4"]), main(["jobs"])]
assert codes == [2, 2, 2, 2], codes
"""


def test_a_missing_extra_is_one_line_that_names_it(light, tmp_path):
    done = light.run("python", "-c", LACKING, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 4, done.stderr
    for line, extra in zip(lines, ("serve", "mlflow", "workflow", "workflow"), strict=True):
        assert f", which is not installed: pip install 'petvr[{extra}]'" in line
