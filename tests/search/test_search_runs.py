"""What a search answers is what the run was ranked by; the second query computes nothing again; bad input is named."""

import json

import frames_zoo as zoo
import numpy as np
import pytest
import torch
import training_bench as tiny
from safetensors.torch import load_file

from petvr.clip import tokenizer
from petvr.config import Config
from petvr.data import catalogue
from petvr.data.frames import single
from petvr.data.frames.store import FrameStore, VideoItem, build_store
from petvr.errors import PetvrError
from petvr.retrieval.metrics import RankCounts
from petvr.search import features, opened, rank
from petvr.training import evaluate, model

pytestmark = pytest.mark.slow  # a small training first

RUNS = {  # method -> setting; mean pooling, every head that looks at text, patches or words, and chosen sentences
    "zero_shot": {},
    "cross_modal_adapter": {"r": 4, "ds": 4},
    "x_pool": {},
    "x_clip": {},
    "ts2_net": {},
    "clip2video": {},
    "hunyuan": {},
    "ju": {"prefix": 2, "postfix": 2},
    "rap": {"hidden": 4},
    "rap@pool=fixed": {"hidden": 4, "pool": "fixed"},
}
HEADS = {"x_pool", "x_clip", "ts2_net", "clip2video", "hunyuan", "ju"}


def spec(name, **changes):
    method = name.partition("@")[0]
    values = {"epochs": 1, "lr_new": 1e-2, "lr_head": 3e-3, "batch": 16, **changes}
    if method in HEADS:
        values["similarity"] = method
    if method == "ts2_net":
        values["similarity_setting"] = {"tokens": 2, "samples": 20}
    return tiny.spec(method, train=method != "zero_shot", setting=RUNS[name], **values)


def opening(bench):
    return opened.open_run(
        bench["out"],
        weights=bench["weights"],
        store=bench["store"],
        dataset=bench["dataset"],
        device="cpu",
        threads=1,
    )


def asked(bench, keep, sentence, top=99, split="test"):
    run = opening(bench)
    found = rank.best_videos(run, sentence, run.split(split), top=top, keep=keep, progress=False)
    return run, found


@pytest.mark.parametrize("name", RUNS)
def test_scores_are_those_behind_the_runs_own_ranks(name, bench, tmp_path, monkeypatch):
    made = spec(name)
    scored = []
    original = evaluate.Scores.__call__
    monkeypatch.setattr(
        evaluate.Scores, "__call__", lambda self, rows: scored.append((rows, original(self, rows))) or scored[-1][1]
    )
    result = tiny.train(made, **bench)
    chosen = result.selected[made.recipe.selection]
    per = len(scored) // len(result.evaluations)
    rows, theirs = scored[chosen * per]
    split = bench["dataset"].split("test")
    with np.load(bench["out"] / "ranks.npz") as file:
        ranks = {way: RankCounts.from_array(file[f"{chosen}/plain/{way}"]).mean_place for way in ("t2v", "v2t")}
    run = opening(bench)
    assert run.notes == []
    for caption in (0, 7, 15):
        hits = rank.best_videos(run, split.captions[caption], split, top=99, keep=tmp_path / "k", progress=False)
        mine = {hit.index: hit.score for hit in hits}
        expected = theirs[rows.tolist().index(caption)]
        assert [mine[video] for video in range(len(split.videos))] == pytest.approx(expected.tolist(), abs=2e-5)
        assert [hit.rank for hit in hits] == list(range(1, 17))
        assert sorted(mine.values(), reverse=True) == [hit.score for hit in hits]
        own = mine[split.caption_video[caption]]
        above = sum(score > own + 1e-4 for score in mine.values())
        beside = sum(abs(score - own) <= 1e-4 for score in mine.values())
        assert above + 1 <= ranks["t2v"][caption] <= above + beside
    video = split.videos[5]
    distinct, hits = rank.best_captions(
        run, rank.pictures_of(run.frames, video), split, top=99, keep=tmp_path / "k", progress=False
    )
    column = {split.captions[row]: theirs[place, 5].item() for place, row in enumerate(rows.tolist())}
    assert {distinct[hit.index]: hit.score for hit in hits} == pytest.approx(column, abs=2e-5)


@pytest.mark.parametrize("name", ["rap", "rap@pool=fixed"])
def test_a_method_looks_at_the_sentences_of_the_runs_evaluation(name, bench, tmp_path, monkeypatch):
    given = []
    original = evaluate.encode_videos
    monkeypatch.setattr(
        evaluate, "encode_videos", lambda *arguments: given.append(arguments[-1]) or original(*arguments)
    )
    tiny.train(spec(name, selection="last"), **bench)
    theirs = given[-1]
    for split in ("test", "train"):  # also when other videos are searched
        asked(bench, tmp_path / "k", "red left", split=split)
        mine = given[-1]
        assert len(theirs) == len(mine) == (16 if name == "rap" else 48)
        nearest = torch.cdist(theirs, mine, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1).values
        assert nearest.max() < 1e-4


def test_the_trained_tensors_answer_not_the_untrained_ones(bench, tmp_path):
    tiny.train(spec("cross_modal_adapter", epochs=2), **bench)
    _, after = asked(bench, tmp_path / "k", "red left")
    before = model.build_model(spec("cross_modal_adapter"), bench["weights"], torch.device("cpu"))
    before.set_training(False)
    store, tokenize = FrameStore(bench["store"]), tokenizer.load_tokenizer(bench["weights"])
    split = bench["dataset"].split("test")
    with torch.no_grad():
        text = before.encode_texts(tokenize(["red left"], tiny.WORDS))
        untrained = before.scores(
            text, before.encode_videos(*(torch.from_numpy(part) for part in store.get(split.videos)))
        )[0]
    assert max(abs(untrained[hit.index] - hit.score) for hit in after) > 1e-2


def test_the_second_query_encodes_no_video_again(bench, tmp_path, monkeypatch):
    tiny.train(spec("rap"), **bench)
    _, first = asked(bench, tmp_path / "k", "red left")
    kept = sorted(path.name.rpartition("-")[0] for path in (tmp_path / "k").iterdir())
    assert kept == ["sentences", "videos-test"]

    def never(*arguments):
        raise AssertionError("encoded again")

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "encode_videos", never)
        patch.setattr(evaluate, "encode_captions", never)
        _, again = asked(bench, tmp_path / "k", "red left")
        assert again == first
        _, few = asked(bench, tmp_path / "k", "blue up", top=3)
        assert len(few) == 3
    path = next((tmp_path / "k").glob("videos-test-*"))
    whole = path.read_bytes()
    for content in (whole[:100], whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(content)
        run, again = asked(bench, tmp_path / "k", "red left")
        assert again == first and "damaged" in run.notes[0]
    # another split has files of its own, and a run trained anew makes the old ones useless
    _, train = asked(bench, tmp_path / "k", "red left", split="train")
    assert len(train) == 24
    tiny.train(spec("rap", epochs=2), **bench)
    _, other = asked(bench, tmp_path / "k", "red left")
    assert other != first and len(list((tmp_path / "k").glob("videos-test-*"))) == 1


def test_what_is_too_large_is_not_kept_and_said(bench, tmp_path, monkeypatch):
    tiny.train(spec("zero_shot"), **bench)
    monkeypatch.setattr(features, "KEPT_BYTES", 100)
    run, found = asked(bench, tmp_path / "k", "red left")
    assert len(found) == 16 and "not kept" in run.notes[0] and not (tmp_path / "k").exists()


def test_a_file_is_read_as_the_store_reads_it(tmp_path):
    path = zoo.write(tmp_path / "own.mp4", codec="libx264", frames=50, fps=10, size=(64, 48))
    settings = {"sampler": "c4c_1fps_int", "frames": 8, "size": 32}
    build_store([VideoItem("own", path)], tmp_path / "s", progress=False, workers=1, **settings)
    pixels, mask = FrameStore(tmp_path / "s").get(["own"])
    assert np.array_equal(single.read_video(path, **settings), pixels[0][mask[0]]) and mask.sum() == 5
    part = single.read_video(path, window=(2, 3), **settings)
    assert len(part) == 2 and [zoo.read(picture.transpose(1, 2, 0)) for picture in part] == [20, 30]


def test_a_file_of_ones_own_is_ranked_by_its_pictures(bench, tmp_path):
    tiny.train(spec("x_clip"), **bench)
    path = zoo.write(tmp_path / "own.mp4", codec="libx264", frames=30, fps=10, size=(64, 48))
    run = opening(bench)
    split = run.split("test")
    distinct, hits = rank.best_captions(
        run, rank.pictures_of(run.frames, str(path)), split, top=5, keep=tmp_path / "k", progress=False
    )
    pixels = single.read_video(path, sampler="uniform_mid", frames=tiny.FRAMES, size=tiny.SIZE)
    pictures = torch.from_numpy(pixels)[None]
    again = model.build_model(spec("x_clip"), bench["weights"], torch.device("cpu"))
    again.restore(load_file(bench["out"] / "adapter.safetensors"))
    again.set_training(False)
    tokenize = tokenizer.load_tokenizer(bench["weights"])
    with torch.no_grad():
        video = again.encode_videos(pictures, torch.ones(1, tiny.FRAMES, dtype=torch.bool))
        for hit in hits:
            text = again.encode_texts(tokenize([distinct[hit.index]], tiny.WORDS))
            assert hit.score == pytest.approx(again.scores(text, video).item(), abs=2e-5)
    for name, content in (("page.mp4", b"<html>quota</html>"), ("empty.avi", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PetvrError, match=name):
            rank.pictures_of(run.frames, str(tmp_path / name))
    with pytest.raises(PetvrError, match=r"gone\.mp4: no such file"):
        rank.pictures_of(run.frames, "gone.mp4")


def test_a_file_that_is_no_video_is_said_before_the_model_is_loaded(bench, tmp_path, monkeypatch):
    import argparse

    from petvr.commands import search

    def never(*arguments):
        raise AssertionError("opened")

    monkeypatch.setattr(search, "named_store", lambda *given: FrameStore(bench["store"]))
    monkeypatch.setattr(search, "open_named_run", never)
    parser = argparse.ArgumentParser()
    search.arguments(parser)
    (tmp_path / "page.mp4").write_text("<html>quota</html>")
    for name in ("page.mp4", "gone.mp4"):
        with pytest.raises(PetvrError, match=name):
            search.run(parser.parse_args(["--run", "any", "--video", str(tmp_path / name)]), None)


def test_what_does_not_belong_to_the_run_is_refused(bench, tmp_path):
    tiny.train(spec("cross_modal_adapter"), **bench)
    run = opening(bench)
    with pytest.raises(PetvrError, match=r"unknown split of colours 'tets'.*did you mean 'test'"):
        run.split("tets")
    with pytest.raises(PetvrError, match="empty"):
        rank.best_videos(run, "  ", run.split("test"), top=1, keep=tmp_path / "k")
    rank.best_videos(run, "red " * 40, run.split("test"), top=1, keep=tmp_path / "k", progress=False)
    assert "its end is cut off" in run.notes[-1]
    adapter = bench["out"] / "adapter.safetensors"
    kept = adapter.read_bytes()
    adapter.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(PetvrError, match=r"adapter\.safetensors: \d+ bytes, \d+ were written with its result"):
        opening(bench)
    adapter.unlink()
    with pytest.raises(PetvrError, match=r"adapter\.safetensors: no such file.*train it again"):
        opening(bench)
    adapter.write_bytes(kept)
    with pytest.raises(PetvrError, match="other weights than the run was trained on"):
        opening(bench | {"weights": tiny.write_weights(tmp_path / "other", layers=1)})
    other = tiny.write_store(tmp_path / "fewer", tiny.videos()[:-1])
    assert "has changed since the run" in opening(bench | {"store": other}).notes[0]


@pytest.fixture
def project(bench, tmp_path, monkeypatch):
    """A finished run where the command looks for it."""
    made = spec("zero_shot")
    results = tmp_path / "results"
    out = results / "runs" / made.id
    tiny.train(made, **(bench | {"out": out}))
    config = Config(seeds=[0], results=results, weights={"tiny": "x"}, device="cpu")
    (results / "weights").mkdir()
    (bench["weights"]).rename(results / "weights" / "tiny")
    monkeypatch.setattr(catalogue, "frame_store", lambda config, run: bench["store"])
    monkeypatch.setattr(catalogue, "open_dataset", lambda config, name: bench["dataset"])
    return made, config


def search(config, *words):
    import argparse

    from petvr.commands import search

    parser = argparse.ArgumentParser()
    search.arguments(parser)
    return search.run(parser.parse_args([*words, "--threads", "1"]), config)


def test_the_command_prints_and_writes_json(project, capsys):
    made, config = project
    search(config, "--run", made.id, "red left", "--top", "3", "--json")
    said = json.loads(capsys.readouterr().out)
    assert said["run"] == made.id and said["of"] == 16 and [row["rank"] for row in said["results"]] == [1, 2, 3]
    assert "the run is stale" in said["notes"][0]  # the bench's specs name hardly any version
    first = said["results"][0]
    assert first["file"].endswith(f"{first['video']}.mp4") and first["captions"]
    assert (config.results / "search" / made.id).is_dir()
    search(config, "--run", str(config.results / "runs" / made.id / "result.json"), "red left", "--top", "3")
    text = capsys.readouterr().out
    assert "among 16 videos" in text and all(row["video"] in text for row in said["results"])
    assert f"{first['score']:.4f}" in text
    search(config, "--run", made.id, "--video", first["video"], "--json")
    said = json.loads(capsys.readouterr().out)
    best = {row["caption"]: row for row in said["results"]}
    assert len(best) == 10 and all(row["videos"] and row["files"] for row in best.values())


def test_bad_arguments_are_named(project, capsys):
    made, config = project
    with pytest.raises(
        PetvrError, match=rf"run 'vop/colours/tiny/zero_shto/seed-0': no result; the nearest.*{made.id}"
    ):
        search(config, "--run", "vop/colours/tiny/zero_shto/seed-0", "red")
    for words in ([], ["red", "--video", "x.mp4"]):
        with pytest.raises(PetvrError, match="either a sentence"):
            search(config, "--run", made.id, *words)
    with pytest.raises(SystemExit, match="2"):
        search(config, "--run", made.id, "red", "--top", "0")
    assert "--top: 0 given, allowed: 1 or more" in capsys.readouterr().err
    with pytest.raises(PetvrError, match="--seconds: 3 1 given"):
        search(config, "--run", made.id, "--video", "x.mp4", "--seconds", "3", "1")
