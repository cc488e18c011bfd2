"""Each mistake made on purpose is found by the rehearsal and named for what it is."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from petvr import world
from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower, read_config
from petvr.commands import rehearse
from petvr.config import Config
from petvr.data import catalogue
from petvr.data.frames import build, decode
from petvr.data.frames.index import FrameIndex, checksum
from petvr.data.frames.store import FrameStore
from petvr.data.frames.store_writer import StoreWriter
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.rehearsal import alternatives, canary, node, parts, reference, room, shapes
from petvr.rehearsal import weights as weights_check
from petvr.rehearsal.parts import Answer, Part
from petvr.world import bpe, tiny_clip

CANARY = "canary-msrvtt-9k"
LIST = "MSRVTT_JSFUSION_test.csv"


@pytest.fixture(scope="module")
def small_world(tmp_path_factory):
    """A world of twelve test videos, a tiny CLIP that was never trained, and values recorded of both."""
    folder = tmp_path_factory.mktemp("rehearsal")
    world.generate("msrvtt", folder / "data" / "msrvtt", sizes={"train": 2, "test": 12}, seed=0, progress=False)
    vocabulary, merges = bpe.learn_bpe(tiny_clip.corpus(0), merges=600)
    where = Layout(folder / "results").weights("tiny")
    tower = Tower(32, 2, 2, 64)
    config = ClipConfig(tower, tower, 48, 16, 77, len(vocabulary), len(vocabulary) - 1, 32)
    weights.save(weights.random(config, 0), where)
    bpe.save_tokenizer(vocabulary, merges, where)
    weights.write_record(where)
    started = Start(folder)
    started.ask(CANARY)
    reference.record_values(folder / "values.json", started.rehearsal.known_parts(), "this test")
    return folder


@pytest.fixture
def copy(small_world, tmp_path):
    """The same, to be harmed."""
    return Start(shutil.copytree(small_world, tmp_path / "copy"))


class Start:
    """`petvr rehearse` in a folder, as the command line starts it."""

    def __init__(self, folder, **keys):
        self.folder, self.keys = folder, keys
        values = folder / "values.json"
        self.args = argparse.Namespace(
            parts=[], anyway=False, list=False, fresh=True, record=None, threads=1, answer=None,
            values=values if values.exists() else None,
        )  # fmt: skip
        self.config = Config.model_validate(
            {
                "results": folder / "results", "data": folder / "data", "locks": folder / "locks", "seeds": [0],
                "tables": ["rap/table_4"], "datasets": ["msrvtt-9k"], "methods": ["rap"], "device": "cpu",
                "weights": {"vit-b-32": "openai/clip-vit-base-patch32"}, "backbones": {"vit-b-32": "tiny"},
                "recipe": {"default": {"frames": 3, "words": 24, "batch": 2}},
                "world": {"sizes": {"msrvtt": {"train": 2, "val": 0, "test": 12}},
                          "tiny_clip": {"steps": 1, "batch": 2, "lr": 1e-3}},
            } | keys
        )  # fmt: skip
        self.layout = Layout(self.config.results)

    @property
    def rehearsal(self):
        return rehearse.Rehearsal(self.args, self.config)

    def ask(self, part):
        return self.rehearsal.ask(part)

    def refusal(self, part):
        """The one thing that the part says no to."""
        (refused,) = self.ask(part).refusals
        assert refused.remedy
        return refused.says

    @property
    def canary(self):
        return self.rehearsal.canary_of("msrvtt-9k")

    def write_grid_store(self, pixels_of):
        """The grid's own store, sound in itself, with other frames uint8 [n, 3, S, S] than the videos show."""
        own = FrameStore(self.canary.own_store)
        index = FrameIndex.read(own.path)
        with StoreWriter(self.canary.grid_store, index.settings) as writer:
            for video, entry in index.videos.items():
                pixels = np.ascontiguousarray(pixels_of(video, own.get([video])[0][0]))
                facts = {name: getattr(entry, name) for name in entry.__dataclass_fields__ if name != "offset"}
                facts |= {"checksum": checksum(pixels), "indices": entry.indices[: len(pixels)]}
                writer.add(video, pixels, **facts)
            writer.finish()

    def video_file(self, video):
        return catalogue.open_dataset(self.config, "msrvtt-9k").video_file(video)


@pytest.mark.slow
def test_what_is_as_recorded_is_a_go_and_is_not_asked_again(copy, capsys):
    part = copy.ask(CANARY)
    assert not part.refusals and part.facts["metrics"] == part.facts["reference"]
    copy.args.fresh = False
    capsys.readouterr()
    copy.ask(CANARY)
    assert capsys.readouterr().out == f"{CANARY}: as before\n"


@pytest.mark.slow
def test_a_wrong_split_file_is_named(copy):
    path = copy.config.data / "msrvtt" / LIST
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines[2:]]))
    assert copy.refusal(CANARY).startswith("wrong split file:") and LIST in copy.refusal(CANARY)


@pytest.mark.slow
def test_a_list_that_is_not_the_published_one_is_named(real_files, tmp_path):
    from petvr.data import datasets

    for name in (LIST, "MSRVTT_train.9k.csv"):
        shutil.copy(real_files / "msrvtt" / name, tmp_path / name)
    dataset = datasets.load_dataset("msrvtt-9k", tmp_path)
    canary._require_published(dataset, tmp_path / LIST)
    (tmp_path / LIST).write_bytes((tmp_path / LIST).read_bytes().replace(b"\n", b"\r\n"))
    canary._require_published(dataset, tmp_path / LIST)  # other ends of lines are no other file
    (tmp_path / LIST).write_bytes((tmp_path / LIST).read_bytes().replace(b"video7020", b"video7021", 1))
    with pytest.raises(PetvrError, match=f"{LIST} is not the published file"):
        canary._require_published(dataset, tmp_path / LIST)


@pytest.mark.slow
def test_a_swapped_tokenizer_is_named(copy):
    folder = copy.layout.weights("tiny")
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["red</w>"], vocabulary["blue</w>"] = vocabulary["blue</w>"], vocabulary["red</w>"]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert any("altered or damaged since" in one.says for one in copy.ask("weights-tiny").refusals)
    (folder / "weights.json").unlink()  # as if it had been brought so
    said = [one.says for one in copy.ask("weights-tiny").refusals if one.says.startswith("another tokenizer:")]
    assert len(said) == 1 and "should be" in said[0]


@pytest.mark.slow
def test_weights_that_were_never_trained_are_named(copy):
    assert "tensors hold one value everywhere" in copy.refusal("weights-tiny")


@pytest.mark.slow
def test_openais_file_is_known_by_its_digest(tmp_path, monkeypatch):
    part, path = Part("weights-vit-b-32"), tmp_path / "ViT-B-32.pt"
    path.write_bytes(b"fine-tuned by somebody")
    weights_check._check_published_file(part, "vit-b-32", path)
    assert "is none of OpenAI's" in part.refusals[0].says and "40d36571" in part.refusals[0].remedy
    monkeypatch.setitem(weights_check.OPENAI, part.refusals[0].says.split("sha256 ")[1].split()[0], "vit-b-16")
    weights_check._check_published_file(part, "vit-b-32", path)
    assert "is OpenAI's vit-b-16" in part.refusals[1].says
    weights_check._check_published_file(part, "vit-b-16", path)
    assert len(part.refusals) == 2


@pytest.mark.slow
def test_a_clip_tokenizer_gives_the_known_ids(real_files, tmp_path):
    from petvr.clip.tokenizer import from_bpe_file

    from_bpe_file(real_files / "clip" / weights.BPE_FILE, tmp_path)
    part = Part("weights")
    weights_check._check_tokenizer(part, tmp_path, weights_check.KNOWN_IDS, "")
    assert not part.refusals


@pytest.mark.slow
def test_bgr_for_rgb_is_named(copy):
    copy.write_grid_store(lambda video, pixels: pixels[:, ::-1])
    assert copy.refusal(CANARY) == "red and blue are exchanged (BGR for RGB)"


@pytest.mark.slow
def test_a_missing_centre_crop_is_named(copy):
    def squeezed(video, pixels):
        raw = decode.decode_frames(copy.video_file(video), FrameIndex.read(copy.canary.own_store).videos[video].indices)
        resized = [np.asarray(Image.fromarray(one).resize((48, 48), Image.Resampling.BICUBIC)) for one in raw]
        return np.stack(resized).transpose(0, 3, 1, 2)

    copy.write_grid_store(squeezed)
    assert copy.refusal(CANARY) == "the centre crop is missing: pictures are squeezed into a square"


@pytest.mark.slow
def test_another_sampler_is_named(copy, tmp_path):
    videos = FrameStore(copy.canary.own_store).ids
    items = [build.VideoItem(video, copy.video_file(video)) for video in videos]
    other = tmp_path / "other"
    build.build_store(items, other, sampler="uniform_mid", frames=3, size=48, workers=1, progress=False)
    frames = FrameStore(other)
    copy.write_grid_store(lambda video, pixels: frames.get([video])[0][0])
    assert copy.refusal(CANARY) == "frames are chosen by uniform_mid, not by c4c_1fps_int"


@pytest.mark.slow
def test_a_decoder_that_exchanges_colours_is_named_by_recorded_ones(copy):
    """Then the stored frames and those decoded anew agree, and both are wrong."""
    path = copy.folder / "values.json"
    content = json.loads(path.read_text())
    entry = content["canaries"]["msrvtt-9k"]
    for video, shades in entry["shades"].items():
        frames = np.frombuffer(bytes.fromhex(shades), np.uint8).reshape(-1, 3, 4)
        entry["shades"][video] = np.ascontiguousarray(frames[:, ::-1]).tobytes().hex()
    path.write_text(json.dumps(content))
    assert "red and blue are exchanged" in copy.refusal(CANARY)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["uniform_mid", "squeezed into a square"])
def test_numbers_that_deviate_are_explained_by_the_rule_that_gives_them(copy, wrong):
    """What is expected was made by another rule than ours: as when a paper did otherwise than its recipe says."""
    listed = alternatives.frame_alternatives("c4c_1fps_int", "crop")
    (number,) = [number for number, one in enumerate(listed) if wrong in one.name.partition(", not by")[0]]
    singer = copy.canary
    videos = singer.sources(FrameStore(singer.own_store).ids)
    theirs = {
        video: frames[number] for video, frames in alternatives.decoded_alternatives(videos, listed, singer.rule, 1)
    }
    copy.write_grid_store(lambda video, pixels: theirs[video])
    split = singer.dataset.split("test")
    stage = canary.explain.Stage(singer, split, FrameStore(singer.grid_store), torch.device("cpu"))
    expected = canary.explain.rounded(stage.ranked(stage.texts(), stage.videos).directions())
    shutil.rmtree(singer.grid_store)
    ours, part = reference.Reference(expected, "the paper", 1.0, 0.01), Part("canary")
    canary.check_canary(part, singer, ours, torch.device("cpu"), 1)
    (refused,) = part.refusals
    assert f"It is equal where {listed[number].name}" in refused.says and "expected" in refused.says


@pytest.mark.slow
def test_one_damaged_shard_is_named(copy):
    copy = Start(copy.folder, frames={"shards": {"msrvtt": 2}})
    from petvr.commands import frames

    store = copy.canary.grid_store
    words = argparse.Namespace(
        folder="msrvtt",
        sampler="c4c_1fps_int",
        frames=3,
        size=48,
        workers=1,
        wait=False,
        shard=None,
        picture="crop",
    )
    frames.run(words, copy.config)
    assert not copy.ask(CANARY).refusals
    index = FrameIndex.read(store)
    harmed = store / index.files[1].file
    first = min(entry.offset for entry in index.videos.values() if entry.offset >= index.files[0].pictures)
    stamp = harmed.stat()
    with open(harmed, "r+b") as stream:
        stream.seek((first - index.files[0].pictures) * 3 * 48**2 + 100)
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte[0] ^ 255]))
    os.utime(harmed, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as a disk does it: nothing tells that it changed
    victim = next(video for video, entry in index.videos.items() if entry.offset == first)
    said = copy.refusal(CANARY) if victim in copy.canary.dataset.split("test").videos else str(harmed)
    assert str(harmed) in said


@pytest.mark.slow
def test_a_full_disk_is_named(copy, tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        copy = Start(copy.folder, results=folder)
        assert f"{folder}: " in copy.refusal("room") and "GB free" in copy.refusal("room")
        part = Part("node")
        node._check_disk(part, folder)
        assert part.refusals[0].says == f"{folder}: No space left on device"
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_missing_module_is_named(tmp_path, monkeypatch):
    (tmp_path / "ftfy.py").write_text("raise ImportError('libsomething.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ftfy", raising=False)
    part = Part("node-train")
    node.check_modules(part, ("json", "ftfy", "no_such_module"))
    (refused,) = part.refusals
    assert refused.says.startswith("missing module: ftfy: libsomething.so.1") and "no_such_module" in refused.says


@pytest.mark.slow
def test_a_slow_shared_disk_is_named(tmp_path):
    """Two folders stand for one disk on two machines; what is written into one comes into the other late."""
    on_node, on_head, stop, late = tmp_path / "node", tmp_path / "head", threading.Event(), 0.4
    for folder in (on_node, on_head):
        folder.mkdir()

    def carry():
        while not stop.wait(0.02):
            for source, target, kind in ((on_node, on_head, "ping"), (on_head, on_node, "pong")):
                file = source / f"train.{kind}"
                if file.exists() and not (target / file.name).exists() and not stop.wait(late):
                    shutil.copy(file, tmp_path / file.name)
                    os.replace(tmp_path / file.name, target / file.name)

    threads = [
        threading.Thread(target=carry),
        threading.Thread(target=node.answer_pings, args=(on_head, lambda: not stop.is_set(), late)),
    ]
    part, silent = Part("node-train"), Part("node-train")
    for thread in threads:
        thread.start()
    try:
        node.check_delay(part, "train", on_node)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    node.check_delay(silent, "train", on_node, patience=0.2)
    assert part.facts["disk delay s"] >= late and part.refusals[0].says.startswith("slow shared disk: a file written")
    assert "latency-wait: " in part.refusals[0].remedy
    assert silent.refusals[0].says.startswith("slow shared disk: no answer within 0.2 s")


def test_packages_that_differ_between_machines_are_named():
    part = Part("node-train", facts={"host": "n7", "packages": {"torch": "2.0", "av": "14"}})
    assert node.unequal_packages([part], {"torch": "2.1", "av": "14"}) == ["torch 2.0 on n7, 2.1 here"]


@pytest.mark.slow
def test_every_shape_is_stepped_once_and_what_cannot_be_is_named(copy):
    part = copy.ask("shapes")
    assert not part.refusals and part.findings[0].says == "1 of 1 at a reduced size (no GPU here)"
    (line,) = json.loads(copy.layout.measured_steps.read_text())["lines"]
    assert line["method"] == "rap" and line["step_seconds"] > 0 and not line["full"]
    broken = Start(copy.folder, setting_overrides=[])
    config = replace(broken.rehearsal.geometries()["tiny"], positions=8)
    (run,) = broken.rehearsal.plan.runs.values()
    machine = shapes.Machine(torch.device("cpu"), False, None, {})
    assert shapes.measured_line(run, config, machine)["error"]


@pytest.mark.slow
def test_the_verdict_stops_or_goes_on_anyway_and_is_asked_again(copy, capsys):
    copy.args.parts = ["room", "page"]
    assert rehearse.run(copy.args, copy.config) == 1  # all else was not asked
    content = json.loads(copy.layout.rehearsed.read_text())
    assert not content["go"] and any(one.startswith("weights-tiny: was it asked?") for one in content["refusals"])
    page = (copy.layout.rehearsal / "index.html").read_text()
    assert "No-go" in page and "petvr rehearse weights-tiny" in page
    assert (copy.layout.rehearsal / "parts" / "room.json").exists()
    copy.ask("weights-tiny")  # says no: never trained
    assert rehearse.run(copy.args, copy.config) == 1
    assert not (copy.layout.rehearsal / "parts" / "weights-tiny.json").exists()  # the next start asks again
    copy.args.anyway = True
    assert rehearse.run(copy.args, copy.config) == 0
    assert "gone on anyway" in (copy.layout.rehearsal / "index.md").read_text()
    verdict = parts.read_verdict(copy.layout.rehearsed)
    assert verdict and not verdict.go and verdict.digest == json.loads(copy.layout.rehearsed.read_text())["digest"]
    for spoilt in ("{", "{}", json.dumps({"digest": 3, "go": "perhaps", "refusals": None})):
        (copy.layout.results / "spoilt.json").write_text(spoilt)
        with pytest.raises(PetvrError, match=r"spoilt\.json: .*rehearse again"):
            parts.read_verdict(copy.layout.results / "spoilt.json")


def test_printed_rows_are_what_canaries_of_real_data_are_compared_with():
    row = reference.printed_row("msrvtt-7k")
    assert row and (row.paper, row.dataset) == ("rap", "msrvtt-9k")
    assert row.values["t2v"] == {"R@1": 31.1, "R@5": 53.7, "R@10": 63.4, "MnR": 41.6}
    assert reference.printed_row("msvd").values["v2t"] == {"R@1": 56.3, "R@5": 82.6, "R@10": 89.8, "MnR": 4.8}
    assert reference.printed_row("didemo").values["v2t"]["R@10"] == 55.0
    assert reference.printed_row("activitynet").values["t2v"]["MnR"] == 37.6
    assert reference.printed_row("lsmdc") is None


def test_room_counts_what_is_already_there(tmp_path):
    (tmp_path / "there").write_bytes(b"x" * 1000)
    assert room.bytes_below(tmp_path) == 1000
    part = Part("room")
    room.check_room(part, [room.Writing("frames", tmp_path / "not" / "yet", 1e18)])
    assert part.findings[0].answer is Answer.NO


@pytest.mark.parametrize(
    ("kind", "disk", "answer", "left"),
    [
        ("quota", "/dev/sda ext4", "/dev/sda / 400* 300 500 7days 1 0 0", 0),
        ("quota", "/dev/sda ext4", "/dev/sdb / 4 300 500 1 0 0\n/dev/sda / 100 0 500 1 0 0", 400 * 1024),
        ("quota", "/dev/sda ext4", "/dev/sda / 100 0 0 1 0 0", None),
        ("lfs", "mds@tcp:/scratch lustre", "  /scratch 100 300 500 - 1 0 0 -", 200 * 1024),
        ("lfs", "mds@tcp:/scratch lustre", "  /scratch 100 0 0 - 1 0 0 -", None),
        ("none", "/dev/sda ext4", "", None),
    ],
)
def test_a_quota_is_asked_where_one_can_be(kind, disk, answer, left, tmp_path, monkeypatch):
    for name, text in (("df", f"Filesystem Type\n{disk}"), (kind, answer)):
        (tmp_path / name).write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert room.quota_free(tmp_path) == left


@pytest.mark.slow
def test_out_of_memory_is_named_with_the_micro_batch_that_fits(copy, monkeypatch):
    """What is asked of torch has no room on any machine; what was refused is let go before less is tried."""
    (run,) = copy.rehearsal.plan.runs.values()
    large = run.model_copy(update={"recipe": run.recipe.model_copy(update={"batch": 48, "frames": 2})})
    train_step, refused = shapes.run.train_step, []

    def step(spec, state, data, micro_batch):
        assert not any(model() for model in refused), "the memory of a refused attempt is still held"
        if (micro_batch or spec.recipe.batch) > 6:
            refused.append(weakref.ref(state.model))
            torch.empty(1 << 60, dtype=torch.uint8)
        train_step(spec, state, data, micro_batch)

    monkeypatch.setattr(shapes.run, "train_step", step)
    machine = shapes.Machine(torch.device("cpu"), True, None, {})
    line = shapes.measured_line(large, read_config(copy.layout.weights("tiny")), machine)
    assert line["error"].startswith("out of memory: ") and line["micro_batch"] == 6 and len(refused) == 3


@pytest.mark.slow
def test_all_tables_begins_with_the_rehearsal_and_one_run_does_not(tmp_path):
    def jobs(target):
        keys = [f"{key}={tmp_path / key}" for key in ("results", "data", "locks")]
        config = ["--configfile", "workflow/demo.yaml", "--config", "rehearsal=stop", *keys]
        command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "--quiet", "rules", *config, "--", target]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert not done.returncode, done.stdout + done.stderr
        return {line.split()[0] for line in (done.stdout + done.stderr).splitlines() if line.strip()}

    everything = jobs("all_tables")
    assert {
        "rehearsal",
        "rehearse_weights",
        "rehearse_canary",
        "rehearse_shapes",
        "rehearse_room",
        "train",
    } <= everything
    assert {f"rehearse_node_{kind}" for kind in ("train", "frames")} <= everything
    one = jobs(f"{tmp_path}/results/runs/rap/msrvtt-9k/tiny/rap/seed-0/result.json")
    assert "train" in one and "rehearsal" not in one


@pytest.mark.slow
def test_a_table_says_that_its_runs_went_on_after_a_no(copy, finished_result):
    from types import SimpleNamespace

    from petvr.report.tables import data_notes
    from petvr.result import Rehearsed

    (run,) = copy.rehearsal.plan.runs.values()
    metrics = {way: {"R@1": 1.0, "R@5": 2.0, "R@10": 3.0, "MdR": 9.0, "MnR": 9.0} for way in ("t2v", "v2t")}
    result = finished_result(run, metrics)
    said = Rehearsed(digest="abc", go=False, refusals=["canary-msvd: is it the official test split? wrong split file"])
    result.provenance.rehearsal = said
    result.write(copy.folder / "result.json")
    read = result.read(copy.folder / "result.json")
    (line,) = data_notes._refused(SimpleNamespace(used=lambda: [read]))
    assert "the rehearsal said no (abc)" in line and "wrong split file" in line


@pytest.mark.slow
def test_measured_steps_stand_in_the_place_of_estimates(tmp_path):
    from petvr import planning
    from petvr.config import load_config
    from petvr.costs import budget, steps

    config = load_config().model_copy(update={"tables": ["rap/table_4"], "datasets": ["msrvtt-9k"], "seeds": [0]})
    plan = planning.plan(config)
    (run,) = [run for run in plan.runs.values() if run.method == "rap"]
    line = {"shape": steps.shape_of(run), "step_seconds": 2.0, "evaluated_videos_per_second": 10.0, "peak_gib": 1.0}
    path = tmp_path / "steps.json"
    path.write_text(json.dumps({"lines": [line | {"full": True, "error": ""}]}))
    measured = steps.read_steps(path)
    taken = -(-180_000 // run.recipe.batch) * run.recipe.epochs * 2.0
    taken += (1 + run.recipe.epochs * run.recipe.evaluations_per_epoch) * 1000 / 10
    assert measured[steps.shape_of(run)].hours(run) == pytest.approx(taken / 3600)
    assert steps.minutes_to_ask(run, measured, 720) == -(-taken * 1.5 // 60) + 15
    before, after = budget.estimate(plan), budget.estimate(plan, measured=measured)
    assert after.assumptions[0].startswith(f"hours of 1 of {len(plan.runs)} runs are measured")
    assert after.total.gpu_hours > before.total.gpu_hours
    path.write_text(json.dumps({"lines": [line | {"full": False, "error": ""}]}))
    os.utime(path, ns=(1, 1))
    assert steps.read_steps(path) == {}  # of a reduced size: nothing is told by it
    for number, (key, value) in enumerate([("step_seconds", 1e300), ("host_gib", "x"), ("shape", None)]):
        path.write_text(json.dumps({"lines": [{**line, "full": True, "error": "", key: value}]}))
        os.utime(path, ns=(number, number + 2))
        with pytest.raises(PetvrError, match=f"{key}.*petvr rehearse shapes"):
            steps.read_steps(path)


@pytest.mark.slow
def test_a_jobs_memory_and_time_follow_from_what_was_measured(tmp_path):
    from petvr import planning, workflow
    from petvr.config import load_config
    from petvr.costs import steps

    changed = {"tables": ["rap/table_4"], "datasets": ["msrvtt-9k"], "seeds": [0], "results": tmp_path}
    config = load_config().model_copy(update=changed)
    runs = {run.method: run for run in planning.plan(config).runs.values()}
    line = {"step_seconds": 1.0, "evaluated_videos_per_second": 10.0, "peak_gib": 9.0, "full": True, "error": ""}
    lines = [
        line | {"shape": steps.shape_of(runs["rap"]), "host_gib": 10.5},
        line | {"shape": steps.shape_of(runs["ssf"])},  # of an earlier petvr
    ]
    path = Layout(tmp_path).measured_steps
    path.parent.mkdir()
    path.write_text(json.dumps({"lines": lines}))
    asked = {name: workflow.train_megabytes(config, runs[name]) for name in ("rap", "ssf", "lorm")}
    assert asked == {"rap": 20_000, "ssf": 64_000, "lorm": 64_000}
    assert workflow.train_minutes(config, runs["rap"]) < workflow.train_minutes(config, runs["lorm"]) == 720


@pytest.mark.slow
def test_the_hosts_peak_is_of_what_came_since():
    code = """
import numpy as np
from petvr.training import bench
held = np.ones(64 << 20, np.uint8)
peak = bench.host_peak()
del held
bench.forget_host_peak()
print(peak - bench.host_peak())
"""  # in a process of its own, whose memory no other test holds
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 32 << 20
