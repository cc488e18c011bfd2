"""Whole runs on a small world: what they learn, write, record and refuse."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import training_bench as tiny
from safetensors.torch import load_file

from petvr import atomic
from petvr.clip import tokenizer, weights
from petvr.data.datasets.base import Split, Validation
from petvr.data.frames.index import Problem, SourceFingerprint
from petvr.data.frames.store import FrameStore, VideoItem, build_store
from petvr.errors import PetvrError
from petvr.result import Result
from petvr.retrieval import metrics
from petvr.training import evaluate, model, result_writer, run
from petvr.training.batches import TokenizedCaptions, open_training_data
from petvr.training.data import DatasetCheck, open_splits


def test_training_learns_and_the_result_says_how(bench):
    result = tiny.train(tiny.spec(epochs=12, lr_clip=2e-3), **bench)
    first, last = result.evaluations[0], result.evaluations[-1]
    assert (first.epoch, first.step, first.train_loss) == (0, 0, None)
    assert [evaluation.epoch for evaluation in result.evaluations] == list(range(13))
    assert last.step == 12 * 6 and last.train_loss < 1.5 < result.evaluations[1].train_loss
    assert last.plain["t2v"]["R@5"] > first.plain["t2v"]["R@5"] + 20
    assert last.plain["t2v"]["MnR"] < 5 < first.plain["t2v"]["MnR"]
    assert result.selected["last"] == 12
    best = max(evaluation.plain["t2v"]["R@1"] for evaluation in result.evaluations[1:])
    assert result.at("best_on_test").plain["t2v"]["R@1"] == best
    assert Result.read(bench["out"] / "result.json") == result
    losses = np.load(bench["out"] / "loss.npy")  # of every step; each evaluation has the mean since the last one
    assert losses.dtype == np.float32 and len(losses) == last.step
    means = [one.train_loss for one in result.evaluations[1:]]
    assert np.allclose(losses.reshape(12, 6).mean(axis=1, dtype=np.float64), means, rtol=1e-6)
    assert result.losses(bench["out"]) == [(step + 1, float(loss)) for step, loss in enumerate(losses)]


@pytest.mark.slow
def test_metrics_are_those_of_the_model_that_was_saved(bench):
    """Ranks from the saved tensors, one pair at a time, without the evaluation's code."""
    spec = tiny.spec("cross_modal_adapter", setting={"r": 4, "ds": 4}, lr_new=1e-2, similarity="query_aware", epochs=2)
    result = tiny.train(spec, **bench)
    again = model.build_model(spec, bench["weights"], torch.device("cpu"))
    again.restore(load_file(bench["out"] / "adapter.safetensors"))
    again.set_training(False)
    split = bench["dataset"].split("test")
    store, tokenize = FrameStore(bench["store"]), tokenizer.load_tokenizer(bench["weights"])
    scores = np.zeros((16, 16))
    with torch.no_grad():
        texts = [again.encode_texts(tokenize([caption], tiny.WORDS)) for caption in split.captions]
        for column, video in enumerate(split.videos):
            pixels, mask = (torch.from_numpy(part) for part in store.get([video]))
            frames = again.encode_videos(pixels, mask)
            for row, text in enumerate(texts):
                scores[row, column] = again.scores(text, frames)
    scores = np.round(scores, 5)  # equal captions tie, whatever the batch
    with np.load(bench["out"] / "ranks.npz") as file:
        counts = metrics.RankCounts.from_array(file[f"{result.selected['best_on_test']}/plain/t2v"])
        assert file["videos"].tolist() == list(split.videos) and file["owner"].tolist() == list(split.caption_video)
    assert np.abs(metrics.ranks(scores, np.arange(16)) - counts.mean_place).max() <= 0.5
    chosen = result.at("best_on_test")
    assert chosen.plain["t2v"] == counts.summary("expected") and chosen.released["plain"]["t2v"] == counts.summary(
        "released"
    )
    assert chosen.dsl is not None and chosen.dsl["t2v"].keys() == chosen.plain["t2v"].keys()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_and_another_seed_another_run(tmp_path, bench):
    def outcome(name, **changes):
        result = tiny.train(tiny.spec("full", **changes), **(bench | {"out": tmp_path / name, "state": tmp_path / "s"}))
        return tiny.outcome(result, tmp_path / name)

    assert outcome("one") == outcome("two")
    assert outcome("one")["weights"] != outcome("three", seed=1)["weights"]
    # full tuning draws nothing at random: with a fixed data order seeds cannot differ
    fixed = [outcome(f"fixed{seed}", seed=seed, data_order="fixed") for seed in (0, 1)]
    assert fixed[0] == fixed[1]


def test_evaluation_only_trains_nothing(bench):
    result = tiny.train(tiny.spec("zero_shot", train=False, dsl="none"), **bench)
    assert len(result.evaluations) == 1 and result.evaluations[0].dsl is None
    assert result.selected == {"best_on_test": 0, "last": 0}
    assert result.cost.trainable == 0 and result.cost.pairs_per_second is None
    assert result.cost.total == sum(p.numel() for p in weights.load_clip(bench["weights"]).parameters())
    assert load_file(bench["out"] / "adapter.safetensors") == {}


def test_zero_shot_is_epoch_0_of_full_tuning(tmp_path, bench):
    tuned = tiny.train(tiny.spec("full"), **bench)
    alone = tiny.train(tiny.spec("zero_shot", train=False), **(bench | {"out": tmp_path / "zero"}))
    assert alone.evaluations[0] == tuned.evaluations[0]
    assert alone.data == tuned.data


@pytest.mark.parametrize("rule", ["best_on_test", "last"])
def test_the_adapter_is_that_of_the_selected_evaluation(bench, rule, monkeypatch):
    states, evaluated = [], []
    original = evaluate.rank_split

    def rank(made, *arguments, **options):
        states.append(made.state())
        report = original(made, *arguments, **options)
        evaluated.append(report)
        if len(evaluated) == 3:  # make the third evaluation the best one
            report.plain.counts["t2v"].above[:] = report.plain.counts["t2v"].tied[:] = 0
        return report

    monkeypatch.setattr(evaluate, "rank_split", rank)
    result = tiny.train(tiny.spec(epochs=4, selection=rule), **bench)
    chosen = {"best_on_test": 2, "last": 4}
    assert result.selected == chosen
    saved = load_file(bench["out"] / "adapter.safetensors")
    assert all(torch.equal(saved[name], tensor) for name, tensor in states[chosen[rule]].items())
    assert not all(torch.equal(saved[name], tensor) for name, tensor in states[1].items())


@pytest.mark.slow
def test_frozen_means_untouched_and_the_logit_scale_follows_the_recipe(bench):
    result = tiny.train(tiny.spec("bias", logit_scale="frozen"), **bench)
    names = load_file(bench["out"] / "adapter.safetensors").keys()
    assert names and all(name.endswith("bias") for name in names)
    assert result.cost.trainable == result.cost.trainable_by_part["clip"] > 0
    tiny.train(tiny.spec("bias", logit_scale="train", logit_scale_max=2.0), **bench)
    saved = load_file(bench["out"] / "adapter.safetensors")
    assert saved["clip.logit_scale"].exp().item() < 2.0001  # it began at 14.3
    assert model.build_model(tiny.spec(logit_scale="none"), bench["weights"], torch.device("cpu")).logit_scale == 0


def test_several_evaluations_an_epoch(bench):
    result = tiny.train(tiny.spec(epochs=2, evaluations_per_epoch=3), **bench)
    assert [evaluation.step for evaluation in result.evaluations] == [0, 2, 4, 6, 8, 10, 12]
    assert [evaluation.epoch for evaluation in result.evaluations] == [0, 1, 1, 1, 2, 2, 2]


@pytest.mark.slow
def test_a_run_that_selects_by_validation_trains_without_it(bench):
    """One in twenty of 24 training videos is held out, and its score chooses the epoch and the saved tensors."""
    validation = bench["dataset"].validation()
    assert len(validation.left_out) == 1
    result = tiny.train(tiny.spec(selection="best_on_val", epochs=2), **bench)
    data = result.data
    assert (data.train_videos, data.train_videos_official, data.data_class, data.validation_videos) == (23, 23, "A", 1)
    assert data.validation == "held out of training, one video in twenty"
    assert all(each.validation["t2v"]["R@1"] == 100 for each in result.evaluations)  # a gallery of one video
    assert result.selected["best_on_val"] == len(result.evaluations) - 1 and set(result.selected) > {"last"}
    plain = tiny.train(tiny.spec(epochs=2), **(bench | {"out": bench["out"] / "plain"}))
    assert plain.data.validation == "" and plain.evaluations[0].validation is None
    assert plain.data.digest != data.digest and "best_on_val" not in plain.selected


def test_a_store_without_the_validation_videos_says_what_to_do(bench, monkeypatch):
    own = Validation(Split("val", ("val0",), ("red left",), (0,)), frozenset(), "a split of its own")
    monkeypatch.setattr(tiny.Colours, "validation", lambda self: own)
    with pytest.raises(PetvrError, match=r"holds no val video.*rule: best_on_val"):
        tiny.train(tiny.spec(selection="best_on_val"), **bench)


def test_several_captions_a_test_video(bench):
    bench["dataset"].per_video = 2
    result = tiny.train(tiny.spec(epochs=1), **bench)
    assert result.data.test_captions == 32 and result.data.test_videos == 16
    with np.load(bench["out"] / "ranks.npz") as file:
        assert file["1/plain/t2v"].shape == (2, 32) and file["1/plain/v2t"].shape == (2, 16)
        assert file["1/dsl/v2t"].shape == (2, 16)


def test_videos_with_the_same_caption_share_their_places(bench):
    """16 test videos, but 8 shades x 4 ways: videos 0..7 left, 8..15 right; make them all say the same."""

    class Mute(tiny.Colours):
        def _read_split(self, which):
            split = super()._read_split(which)
            return type(split)(split.name, split.videos, ("a thing",) * len(split.captions), split.caption_video)

    result = tiny.train(tiny.spec("zero_shot", train=False), **(bench | {"dataset": Mute(bench["out"])}))
    evaluation = result.evaluations[0]
    assert evaluation.plain["v2t"]["MnR"] == 8.5 and evaluation.plain["v2t"]["R@5"] == 100 * 5 / 16  # chance
    assert evaluation.plain["t2v"]["MnR"] == 8.5  # every rank once
    assert evaluation.dsl["v2t"]["MnR"] == 8.5


def test_bf16_runs_and_says_so(bench):
    result = tiny.train(tiny.spec(epochs=1, precision="bf16"), **bench)
    assert result.spec.recipe.precision == "bf16"
    assert np.isfinite(result.evaluations[1].train_loss)
    exact = tiny.train(tiny.spec(epochs=1), **bench)
    assert result.evaluations[1].train_loss != exact.evaluations[1].train_loss
    assert result.evaluations[1].train_loss == pytest.approx(exact.evaluations[1].train_loss, rel=0.05)


def missing_some(bench, gone):
    store = bench["store"].parent / "holes"
    left = [video for video in tiny.videos() if video not in gone]
    problem = Problem("truncated: moov atom not found", SourceFingerprint(10, 0))
    tiny.write_store(store, left, {gone[0]: problem})
    return bench | {"store": store}


def test_missing_videos_stop_the_run_and_are_named(bench):
    holes = missing_some(bench, ["test3", "train5"])
    with pytest.raises(
        PetvrError, match=r"1 of 24 train videos are missing, the first is 'train5' \(not in the store\)"
    ):
        tiny.train(tiny.spec(), **holes)
    with pytest.raises(PetvrError, match=r"1 of 16 test videos.*'test3' \(truncated: moov atom not found\)"):
        tiny.train(tiny.spec("zero_shot", train=False), **holes)


def test_missing_videos_are_recorded_on_request(bench):
    result = tiny.train(tiny.spec(epochs=1), **missing_some(bench, ["test3", "train5"]), missing="record")
    assert result.data.missing == ["test3", "train5"]
    assert (result.data.train_videos, result.data.train_videos_official) == (23, 24)
    assert (result.data.test_videos, result.data.test_videos_official, result.data.test_captions) == (15, 16, 15)
    assert result.data.data_class == "D"
    assert result.data.digest != tiny.train(tiny.spec(epochs=1), **bench).data.digest


def test_a_store_of_another_recipe_is_refused(bench):
    with pytest.raises(PetvrError, match="frames 3, the recipe asks for 12"):
        tiny.train(tiny.spec(frames=12), **bench)
    with pytest.raises(PetvrError, match="sampler uniform_mid, the recipe asks for round_1fps"):
        tiny.train(tiny.spec(sampler="round_1fps"), **bench)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 49}, "batch 49 is larger than the 48 training samples"),
        ({"similarity": "mean_pol"}, "did you mean 'mean_pool'"),
    ],
)
def test_bad_recipes_get_one_line(bench, changes, message):
    with pytest.raises(PetvrError, match=message) as caught:
        tiny.train(tiny.spec(**changes), **bench)
    assert "\n" not in str(caught.value)


def test_a_method_that_trains_nothing_is_not_trained(bench):
    with pytest.raises(PetvrError, match="trains nothing"):
        tiny.train(tiny.spec("zero_shot", logit_scale="frozen"), **bench)


def test_bad_devices_and_threads_are_named(bench):
    with pytest.raises(PetvrError, match="device 'gpu9' cannot be used"):
        tiny.train(tiny.spec(), **(bench | {"device": "gpu9"}))
    with pytest.raises(PetvrError, match="threads: '0'"):
        tiny.train(tiny.spec(), **(bench | {"threads": 0}))


def test_a_diverged_run_stops_with_its_step(bench):
    spec = tiny.spec(clip_global=None, clip_tensor=None)
    runaway = spec.recipe.model_copy(update={"lr_clip": 1e30})  # past what a recipe may say
    with pytest.raises(PetvrError, match="loss is nan at step 6"):
        tiny.train(spec.model_copy(update={"recipe": runaway}), **bench)
    assert not (bench["out"] / "result.json").exists()


def test_a_full_disk_loses_nothing(bench, monkeypatch):
    """The first attempt trains, but its result cannot be written; the second one writes it without training again."""
    write_json = atomic.write_json

    def full(path, value):
        raise PetvrError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr(atomic, "write_json", full)
    with pytest.raises(PetvrError, match=r"result.json: cannot be written: No space.*state is kept in .*make room"):
        tiny.train(tiny.spec(), **bench)
    assert not (bench["out"] / "result.json").exists()
    monkeypatch.setattr(atomic, "write_json", write_json)
    for name in ("train_step", "evaluate_step"):
        monkeypatch.setattr(run, name, None)  # nothing is left to do
    result = tiny.train(tiny.spec(), **bench)
    assert result.cost.resumed == 1 and len(result.evaluations) == 4
    assert not bench["state"].exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_really_full_device_is_one_line(bench, monkeypatch):
    def onto_full(stream, **arrays):
        with open("/dev/full", "wb") as full:
            full.write(b"x" * 10**6)

    monkeypatch.setattr(result_writer.np, "savez_compressed", onto_full)
    with pytest.raises(PetvrError, match=r"ranks.npz: cannot be written: No space left on device"):
        tiny.train(tiny.spec(epochs=1), **bench)
    assert list(bench["state"].glob("step-000000006-*.safetensors"))


def test_provenance_and_cost(bench):
    result = tiny.train(tiny.spec(epochs=1), **bench)
    provenance = result.provenance
    assert provenance.packages["torch"].startswith(torch.__version__.split("+")[0]) and "numpy" in provenance.packages
    assert provenance.hardware["threads"] == 1 and provenance.hardware["device"] == "cpu"
    assert provenance.started <= provenance.finished and provenance.started.endswith("+00:00")
    assert provenance.spec_digest == result.spec.digest() and provenance.weights_digest == weights.digest(
        bench["weights"]
    )
    assert result.cost.peak_memory_bytes > 50 * 2**20
    assert result.cost.pairs_per_second == pytest.approx(48 / result.cost.train_seconds)
    assert result.data.frames_digest == FrameStore(bench["store"]).digest


def test_the_source_revision_is_that_of_the_checkout(tmp_path):
    def git(*arguments):
        names = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", "-C", tmp_path, *names, *arguments], check=True, capture_output=True, text=True
        ).stdout

    source = tmp_path / "src"
    source.mkdir()
    assert result_writer.source_revision(source) == (None, None)
    git("init", "-q")
    (source / "__init__.py").write_text("")
    assert result_writer.source_revision(source) == (None, None), "not tracked: some other project's checkout"
    git("add", ".")
    git("commit", "-qm", "one")
    revision = git("rev-parse", "HEAD").strip()
    assert result_writer.source_revision(source) == (revision, False)
    (source / "__init__.py").write_text("x = 1")
    assert result_writer.source_revision(source) == (revision, True)


def test_lines_without_a_terminal_and_a_bar_with_one(bench, capsys):
    tiny.train(tiny.spec(epochs=1), **(bench | {"progress": None}))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("epoch 0, step 0: t2v R@1") and lines[-1].startswith("done: epoch 1")
    assert not any("\x1b" in line or "━" in line for line in lines)
    tiny.train(tiny.spec(epochs=1), **(bench | {"progress": True}))
    assert "6/6" in capsys.readouterr().err
    log = (bench["out"] / "log.txt").read_text().splitlines()
    assert len([line for line in log if "epoch 1, step 6" in line and "done" not in line]) == 2


def test_each_test_video_is_encoded_once_and_each_batch_reads_a_video_once(bench, monkeypatch):
    reads = []
    original = FrameStore.get_rows

    def get_rows(self, rows, out=None):
        reads.append(rows.tolist())
        return original(self, rows, out)

    monkeypatch.setattr(FrameStore, "get_rows", get_rows)
    monkeypatch.setattr(run, "encoding_ms", lambda *_: (1.0, 1.0))  # which reads some again, on purpose
    tiny.train(tiny.spec(epochs=2), **bench)
    evaluations = [rows for rows in reads if len(rows) == 16]
    assert len(evaluations) == 3 and len(reads) == 3 + 12
    assert all(len(set(rows)) == len(rows) for rows in reads)


def test_the_size_of_evaluation_batches_changes_nothing(tmp_path, bench):
    one = tiny.train(tiny.spec("zero_shot", train=False), **bench)
    two = tiny.train(tiny.spec("zero_shot", train=False), **bench, eval_frames_per_batch=5)
    assert one.evaluations == two.evaluations


def test_scores_computed_in_parts_are_the_scores(bench, monkeypatch):
    one = tiny.train(tiny.spec("zero_shot", train=False, similarity="query_aware"), **bench)
    monkeypatch.setattr(evaluate, "KEPT", 0)
    monkeypatch.setattr(evaluate, "SCRATCH", {"cpu": 16 * 4 * tiny.FRAMES * 3})
    two = tiny.train(tiny.spec("zero_shot", train=False, similarity="query_aware"), **bench)
    assert one.evaluations == two.evaluations


def test_repeated_videos_are_encoded_once_only_where_that_is_the_same(bench):
    """The loss of a batch in which videos meet themselves equals the loss with every sample encoded for itself."""
    spec = tiny.spec("full", batch=40)
    frames = FrameStore(bench["store"])
    train = open_splits(spec, bench["dataset"], frames, "strict", DatasetCheck()).train.split
    cpu, tokenize = torch.device("cpu"), tokenizer.load_tokenizer(bench["weights"])
    built = model.build_model(spec, bench["weights"], cpu)
    data = open_training_data(spec, train, built, frames, tokenize)
    assert len(data.batches.at(0).videos) < 40 and data.once_per_video
    once = built.loss(data.at(0, cpu))
    data.once_per_video = False
    assert len(data.at(0, cpu).pixels) == 40
    assert torch.allclose(once, built.loss(data.at(0, cpu)), rtol=1e-5)
    dropout = tiny.spec("cross_modal_adapter", setting={"r": 4, "ds": 4, "dropout": 0.1})
    built = model.build_model(dropout, bench["weights"], cpu)
    assert not open_training_data(dropout, train, built, frames, tokenize).once_per_video


def test_a_caption_is_tokenized_once_and_not_before_it_is_asked_for(bench):
    class Counted:
        whole = tokenizer.load_tokenizer(bench["weights"])
        eot, asked = whole.eot, []

        def __call__(self, texts, words):
            self.asked.extend(texts)
            return self.whole(texts, words)

    given = ["red", "up", "blue up", "red", "left left", "down"]
    texts = TokenizedCaptions(given, Counted(), tiny.WORDS)
    assert Counted.asked == []
    for which in ([4, 0], [2, 4, 4], [0], [3]):  # distinct ones: red, up, blue up, left left, down
        expected = Counted.whole([list(dict.fromkeys(given))[index] for index in which], tiny.WORDS)
        rows = texts.rows(torch.tensor(which))
        assert torch.equal(rows, expected[:, : rows.shape[1]]) and (rows == Counted.eot).any(1).all()
    assert sorted(Counted.asked) == ["blue up", "down", "left left", "red"]
    ids, lengths = texts.tokenized()
    assert torch.equal(ids, Counted.whole(list(dict.fromkeys(given)), tiny.WORDS)) and len(Counted.asked) == 5
    assert lengths.tolist() == [5, 4, 8, 10, 6]  # letters, SOT and EOT
    uncut = TokenizedCaptions(given, Counted(), tiny.WORDS, full_width=True)
    assert uncut.rows(torch.tensor([1])).shape == (1, tiny.WORDS)


def test_padding_is_left_out_and_changes_nothing(bench):
    tokenize = tokenizer.load_tokenizer(bench["weights"])
    texts = TokenizedCaptions(["red", "blue up", "red"], tokenize, tiny.WORDS)
    assert len(texts) == 2 and texts.distinct.tolist() == [0, 1, 0]
    assert texts.rows(texts.distinct[[2, 0]]).shape == (2, 5)  # SOT, three letters, EOT
    assert texts.rows(texts.distinct[[0, 1]]).shape == (2, 8)
    made = model.build_model(tiny.spec("full"), bench["weights"], torch.device("cpu"))
    whole = made.encode_texts(tokenize(["red", "blue up"], tiny.WORDS))
    assert torch.allclose(made.encode_texts(texts.rows(torch.tensor([0, 1])))["text"], whole["text"], atol=1e-6)
    one = made.encode_texts(texts.rows(torch.tensor([0])))["text"]
    assert torch.allclose(one, whole["text"][:1], atol=1e-6)


@pytest.mark.slow
def test_from_video_files_to_a_result(tmp_path):
    av = pytest.importorskip("av")

    class Clips(tiny.Colours):
        counts = {"train": (4, 8), "test": (3, 3)}  # noqa: RUF012

    dataset, items = Clips(tmp_path), []
    for which in ("train", "test"):
        for video in dataset.split(which).videos:
            path = tmp_path / "videos" / f"{video}.mp4"
            path.parent.mkdir(exist_ok=True)
            with av.open(str(path), "w") as file:
                stream = file.add_stream("libx264", rate=5)
                stream.width = stream.height = 32
                for number in range(10):
                    picture = np.full((32, 32, 3), 20 * tiny.facts(video)[0] + number, np.uint8)
                    file.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
                file.mux(stream.encode())
            items.append(VideoItem(video, path))
    items[-1].path.write_bytes(b"<html>not a video</html>")
    report = build_store(items, tmp_path / "store", sampler="uniform_mid", frames=3, size=16, workers=1, progress=False)
    assert list(report.problems) == ["test2"]
    tiny.write_weights(tmp_path / "weights")
    options = tiny.arguments(tmp_path) | {"dataset": dataset}
    with pytest.raises(PetvrError, match="1 of 3 test videos are missing, the first is 'test2'"):
        tiny.train(tiny.spec(batch=2), **options)
    result = tiny.train(tiny.spec(batch=2), **options, missing="record")
    assert result.data.test_videos == 2 and result.data.missing == ["test2"]
    assert len(result.evaluations) == 4 and result.data.frames_digest == report.digest


def test_the_package_and_its_version_load_without_torch():
    code = "import sys, petvr.training as t; print(t.VERSION >= 1, t.EXIT_CHECKPOINTED, 'torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "True 75 False"
    )


def test_the_result_is_plain_json(bench):
    tiny.train(tiny.spec(epochs=1), **bench, world="synthetic")
    data = json.loads((bench["out"] / "result.json").read_text())
    assert data["data"]["world"] == "synthetic" and data["spec"]["recipe"]["lr_new"] == 1e-3
