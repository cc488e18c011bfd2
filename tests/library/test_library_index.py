"""An index answers as the model scores; it is resumed, extended and refused where it does not belong."""

import json
import shutil

import numpy as np
import pytest
from made_runs import spec_of

import petvr
from petvr.library import index_build, index_manifest
from petvr.library.index_part import IndexPart
from petvr.library.text_video import TextVideoModel
from petvr.library.video_files import shard_listing

TEXT = "red left"


@pytest.fixture
def folder(clips, tmp_path):
    """The clips, one of them deeper, and what no index takes."""
    for place, clip in zip(("a.mp4", "b.mp4", "c.mp4", "deep/d.mp4", "deep/e.MP4"), clips, strict=True):
        (tmp_path / "videos" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(clip, tmp_path / "videos" / place)
    (tmp_path / "videos" / "notes.txt").write_text("no video")
    (tmp_path / "videos" / "bad.mp4").write_text("<html>quota</html>")
    return tmp_path / "videos"


def flip_last_bit(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("method", ["full", "query_aware", "x_pool", "x_clip", "ts2_net", "rap"])
def test_a_search_gives_the_models_own_scores(method, finished_run, folder, tmp_path, clips):
    spec = spec_of("cross_modal_adapter" if method == "query_aware" else method)
    model = petvr.load(finished_run(spec), device="cpu")
    sentences = ["red left", "blue up"] if method == "rap" else None
    index = petvr.Index.build(model, folder, sentences=sentences)
    assert sorted(index.videos) == ["a.mp4", "b.mp4", "c.mp4", "deep/d.mp4", "deep/e.MP4"]
    assert list(index.problems) == ["bad.mp4"] and "page" in index.problems["bad.mp4"]
    scores = model.score([TEXT], model.encode_video(clips, sentences=sentences))[0]
    expected = dict(zip(["a.mp4", "b.mp4", "c.mp4", "deep/d.mp4", "deep/e.MP4"], scores, strict=True))
    matches = index.search(TEXT, k=9)
    assert {one.video: one.score for one in matches} == pytest.approx(expected, abs=2e-3)
    assert [one.rank for one in matches] == [1, 2, 3, 4, 5] and matches[0].file == folder / matches[0].video
    assert [one.score for one in matches] == sorted((one.score for one in matches), reverse=True)
    index.save(tmp_path / "clips.index")
    again = petvr.Index.load(tmp_path / "clips.index", model)
    assert again.search(TEXT, k=3) == matches[:3] and again.problems == index.problems
    both = again.search_many([TEXT, "blue up"], 2)
    assert [one.video for one in both[0]] == [one.video for one in matches[:2]] and again.search_many([]) == []
    few = index.search(TEXT, k=1, candidates=2)
    assert len(few) == 1 and (method != "full" or few == matches[:1])


def test_search_is_exact_whatever_the_size(finished_run):
    """Against float64 over random vectors, duplicates among them, in parts of different sizes."""
    model = petvr.load(finished_run(spec_of("full")), device="cpu")
    chance = np.random.default_rng(0)
    vectors = chance.standard_normal((5000, model.model.adapted.embed_dim))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    vectors[4000:4100] = vectors[:100]
    records = [{"video": f"v{n}", "file": f"/v{n}"} for n in range(5000)]
    cuts = [(0, 7), (7, 7), (7, 3000), (3000, 5000)]
    parts = [IndexPart(vectors[a:b], {}, records[a:b]) for a, b in cuts]
    index = petvr.Index(parts, {"digest": model.digest}, model)
    queries = vectors[:60].astype(np.float32) + 0.05 * chance.standard_normal((60, vectors.shape[1])).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    for half in (True, False):
        index._half = half
        for query, (rows, scores) in zip(queries, index.nearest(queries, 25), strict=True):
            true = vectors.astype(np.float64) @ query
            assert scores == pytest.approx(np.sort(true)[::-1][:25], abs=1e-5)
            assert scores == pytest.approx(true[rows], abs=1e-5) and len(set(rows.tolist())) == 25
    twin = index.nearest(vectors[:1].astype(np.float32), 2)[0][0]
    assert twin.tolist() == [0, 4000], "equal ones in the order of the index"


def test_an_index_is_extended_and_nothing_is_encoded_again(finished_run, folder, tmp_path, monkeypatch):
    model, to = petvr.load(finished_run(spec_of("full")), device="cpu"), tmp_path / "index"
    encoded = []
    original = TextVideoModel.encode_pictures
    monkeypatch.setattr(
        TextVideoModel,
        "encode_pictures",
        lambda self, videos, c: encoded.append(len(videos)) or original(self, videos, c),
    )
    monkeypatch.setattr(index_build, "PART_VIDEOS", 2)
    first = petvr.Index.build(model, folder, to=to)
    assert sum(encoded) == 5 and len(list(to.glob("part-*"))) == 3
    before = {one.video: one.score for one in first.search(TEXT)}
    # killed before its last part: what was written stays
    shutil.rmtree(sorted(to.glob("part-*"))[-1])
    (to / "index.json").unlink()
    (to / ".part-00002.x").mkdir()
    encoded.clear()
    again = petvr.Index.build(model, folder, to=to)
    assert 0 < sum(encoded) <= 2 and {one.video: one.score for one in again.search(TEXT)} == before
    # one goes, one changes, one comes
    (folder / "a.mp4").unlink()
    shutil.copyfile(folder / "c.mp4", folder / "b.mp4")
    shutil.copyfile(folder / "c.mp4", folder / "new.mp4")
    encoded.clear()
    third = petvr.Index.build(model, folder, to=to)
    assert sum(encoded) == 2 and sorted(third.videos) == ["b.mp4", "c.mp4", "deep/d.mp4", "deep/e.MP4", "new.mp4"]
    after = {one.video: one.score for one in third.search(TEXT)}
    assert after["b.mp4"] == after["new.mp4"] == pytest.approx(before["c.mp4"], abs=1e-3)
    # shards share no video, and joined they are the whole
    for number in (1, 2):
        petvr.Index.build(model, folder, to=to / f"shard-{number}-of-2", shard=(number, 2))
    index_manifest.join_shards(to, [to / "shard-1-of-2", to / "shard-2-of-2"])
    joined = petvr.Index.load(to, model)
    assert {one.video: one.score for one in joined.search(TEXT)} == after and "bad.mp4" in joined.problems
    listings = [shard_listing(folder, (number, 2)) for number in (1, 2)]
    (folder / "one_more.mp4").touch()
    assert sum(old != shard_listing(folder, (n, 2)) for n, old in enumerate(listings, 1)) == 1


def test_what_does_not_belong_is_refused(finished_run, folder, tmp_path):
    run = finished_run(spec_of("full"))
    model, other = petvr.load(run, device="cpu"), petvr.load(finished_run(spec_of("bias")), device="cpu")
    index = petvr.Index.build(model, sorted(folder.glob("[ac].mp4")), to=tmp_path / "index")
    assert petvr.Index.load(tmp_path / "index").search(TEXT, 1) == index.search(TEXT, 1), "the model is found again"
    with pytest.raises(petvr.PetvrError, match="made by another model"):
        petvr.Index.load(tmp_path / "index", other)
    with pytest.raises(petvr.PetvrError, match="is there already"):
        index.save(tmp_path / "index")
    with pytest.raises(petvr.PetvrError, match="x: cannot be written: Not a directory"):
        index.save(folder / "notes.txt" / "x")
    with pytest.raises(petvr.PetvrError, match="model: 'other' given"):
        petvr.Index.load(tmp_path / "index", "other")
    for k in (0, -1, "3", True, 2.5, None, 10**30):
        with pytest.raises(petvr.PetvrError, match=r"k: .* allowed: 1 or more"):
            index.search(TEXT, k)
    assert len(index.search(TEXT, np.int64(1))) == 1
    with pytest.raises(petvr.PetvrError, match="text 0 is empty"):
        index.search(" ")
    for options, said in (
        ({"shard": (0, 2)}, "shard: 0 given"),
        ({"shard": (3, 2)}, r"shard: \(3, 2\) given"),
        ({"shard": "1/2"}, "shard: 0 given"),
        ({"workers": "2"}, "workers: '2' given"),
        ({"to": ""}, "to: '' given"),  # it would be the working folder
        ({"model": 3}, r"model: 3 given, allowed: what petvr\.load gives"),
        ({"sentences": ["red"]}, "looks at no sentences"),
    ):
        with pytest.raises(petvr.PetvrError, match=said):
            petvr.Index.build(**{"model": model, "videos": folder} | options)
    for given in ("", None, 3):
        with pytest.raises(petvr.PetvrError, match=r"an index: .* given, allowed: "):
            petvr.Index.load(given)
    (tmp_path / "empty").mkdir()
    for videos, said in (
        (tmp_path / "empty", "no video in it; allowed endings"),
        (tmp_path / "gone", "no such folder of videos"),
        ([folder / "bad.mp4"], "none of the 1 videos can be read"),
        ([3], "video file: 3 given, allowed: "),
        ("", "a folder of videos: '' given, allowed: "),
    ):
        with pytest.raises(petvr.PetvrError, match=said):
            petvr.Index.build(model, videos)
    with pytest.raises(petvr.PetvrError, match=r"no index\.json in it"):
        petvr.Index.load(folder)
    part = tmp_path / "index" / "part-00000"
    elsewhere = {"format": 1, "model": dict.fromkeys(("name", "source", "digest"), ""), "parts": ["../x"]}
    for name, spoil, said in (
        ("vectors.npy", lambda path: path.write_bytes(path.read_bytes()[:-7]), "vectors.npy: not a .npy file"),
        ("vectors.npy", lambda path: np.save(path, np.array([{}], object)), "vectors.npy: not a .npy file"),
        ("vectors.npy", lambda path: np.save(path, np.zeros(3, np.float16)), "part-00000: damaged"),
        ("part.json", lambda path: path.write_text('{"model": "x", "videos": []}'), "part.json: videos: "),
        ("vectors.npy", flip_last_bit, r"vectors\.npy: altered or damaged"),
        ("videos.jsonl", flip_last_bit, r"videos\.jsonl: altered or damaged"),
        ("videos.jsonl", lambda path: path.write_text("{}"), r"videos\.jsonl: 2 bytes"),
        ("../index.json", lambda path: path.write_text(json.dumps(elsewhere)),
         "only folders below it"),
    ):  # fmt: skip
        kept = (part / name).read_bytes()
        spoil(part / name)
        with pytest.raises(petvr.PetvrError, match=said):
            petvr.Index.load(tmp_path / "index")
        (part / name).write_bytes(kept)
    (run / "adapter.safetensors").unlink()
    with pytest.raises(petvr.PetvrError, match=r"adapter\.safetensors: no such file"):
        petvr.Index.load(tmp_path / "index").search(TEXT)


def test_the_commands_encode_and_search(finished_run, results, folder, tmp_path, capsys):
    import argparse

    from petvr.commands import encode, search, verify
    from petvr.config import Config

    spec = spec_of("full")
    finished_run(spec)
    config = Config(seeds=[0], results=results, weights={"tiny": "x"}, device="cpu")

    def call(command, *words):
        parser = argparse.ArgumentParser()
        command.arguments(parser)
        command.run(parser.parse_args([*map(str, words), "--threads", "1"]), config)
        return capsys.readouterr().out

    to = tmp_path / "index"
    for number in (1, 2):
        call(encode, folder, "--model", spec.id, "--to", to, "--workers", "0", "--shard", f"{number}/2")
    assert call(encode, folder, "--model", spec.id, "--to", to, "--join", "2") == f"{to}: 5 videos\n"
    said = json.loads(call(search, "--index", to, TEXT, "--top", "2", "--json"))
    assert said["of"] == 5 and said["run"] == spec.id and [row["rank"] for row in said["results"]] == [1, 2]
    kept = tmp_path / "results"
    shutil.copytree(to, kept / "indexes" / "mine")
    assert verify.run(argparse.Namespace(only=None), config.model_copy(update={"results": kept})) == 0
    assert "1 indexes: all as it was written" in capsys.readouterr().out
    flip_last_bit(next((kept / "indexes").rglob("vectors.npy")))
    assert verify.run(argparse.Namespace(only="indexes"), config.model_copy(update={"results": kept})) == 1
    assert "vectors.npy: altered or damaged" in capsys.readouterr().out
    text = call(search, "--index", to, TEXT, "--top", "2")
    assert "among 5 videos" in text and all(row["file"] in text for row in said["results"])
