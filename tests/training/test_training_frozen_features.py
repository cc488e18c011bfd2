"""What a frozen tower gives, read from a cache, changes nothing but the time."""

import numpy as np
import pytest
import torch
import training_bench
from safetensors.torch import load_file

from petvr.clip import tokenizer
from petvr.data.frames.store import FrameStore
from petvr.training import frozen_feature_cache, run
from petvr.training.batches import TokenizedCaptions
from petvr.training.log import RunLog
from petvr.training.model import Model, build_model
from petvr.training.signals import StopRequested, StopSignal

CPU = torch.device("cpu")
SPECS = {
    "zero_shot": training_bench.spec("zero_shot", train=False),
    "coop": training_bench.spec("coop", setting={"tokens": 4}),
    "proj": training_bench.spec("proj"),
    "partial": training_bench.spec("partial"),
    "x_pool": training_bench.spec("x_pool", similarity="x_pool"),
    "bf16": training_bench.spec("partial", precision="bf16"),
}


def with_cache(bench, spec, name, **options):
    bench = bench | {"out": bench["out"] / name, "state": bench["state"] / name}
    options = {"feature_cache": bench["weights"].parent / "feature_cache", "feature_cache_gib": 1.0} | options
    return training_bench.train(spec, **bench, **options)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.slow
def test_a_run_with_a_cache_has_the_numbers_of_one_without(bench, name):
    spec = SPECS[name]
    plain = with_cache(bench, spec, "plain", feature_cache_gib=0)
    first, second = (with_cache(bench, spec, name) for name in ("first", "second"))
    assert plain.cost.prefix_blocks is None
    assert first.cost.prefix_blocks == {"partial": 1, "bf16": 1, "proj": 2}.get(name, 3)
    assert first.evaluations == second.evaluations  # filling it and finding it filled: the same bits
    loss = 2e-2 if name == "bf16" else 1e-5
    for mine, other in zip(first.evaluations, plain.evaluations, strict=True):
        assert mine.train_loss == pytest.approx(other.train_loss, abs=loss)
        if name != "bf16":
            assert mine.plain == other.plain


def test_a_method_that_acts_everywhere_makes_no_cache(bench):
    result = with_cache(bench, training_bench.spec("bias", epochs=1), "bias")
    assert result.cost.prefix_blocks is None
    assert not (bench["weights"].parent / "feature_cache").exists()


def test_cropped_pictures_are_not_cached(bench):
    result = with_cache(bench, training_bench.spec("partial", epochs=1, augment="crop_flip"), "crop")
    assert result.cost.prefix_blocks is None


def test_a_cache_that_would_be_too_large_is_not_made_and_that_is_said(bench):
    result = with_cache(bench, training_bench.spec("partial", epochs=1), "small", feature_cache_gib=1e-6)
    assert result.cost.prefix_blocks is None
    assert "feature_cache_gib allows 1e-06" in (bench["out"] / "small" / "log.txt").read_text()


TEXTS = {  # frozen text towers; pictures are cropped or the vision tower is not frozen: no cache of videos is there
    "x_pool": training_bench.spec("x_pool", similarity="x_pool", augment="crop_flip", epochs=1),
    "words": training_bench.spec("x_clip", similarity="x_clip", augment="crop_flip", epochs=1),
    "bf16": training_bench.spec("vpt", setting={"tokens": 4}, epochs=1, precision="bf16"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXTS)
def test_captions_of_a_frozen_text_tower_are_encoded_once_and_a_file_of_them_changes_no_bit(bench, name, monkeypatch):
    encoded, original = [], Model.encode_sentences

    def encode(model, ids):
        encoded.append(len(ids))
        return original(model, ids)

    monkeypatch.setattr(Model, "encode_sentences", encode)
    monkeypatch.setattr(run, "encoding_ms", lambda *_: (1.0, 1.0))  # which encodes again, on purpose
    spec, kind = TEXTS[name], {"micro_batch": 3} if name == "words" else {}
    plain = with_cache(bench, spec, "plain", feature_cache_gib=0, **kind)
    assert sum(encoded) == 2 + 48 + 16  # the type, twice, and the captions of the training and the test split
    first = with_cache(bench, spec, "first", **kind)
    encoded.clear()
    second = with_cache(bench, spec, "second", **kind)
    assert sum(encoded) == 2  # the type
    assert plain.cost.texts_once and second.cost.texts_once
    assert plain.evaluations == first.evaluations == second.evaluations
    trained = [load_file(bench["out"] / run / "adapter.safetensors") for run in ("plain", "first", "second")]
    assert all(torch.equal(trained[0][key], other[key]) for other in trained[1:] for key in trained[0])


@pytest.mark.parametrize("name", TEXTS)
def test_a_caption_read_from_a_cache_is_what_the_text_tower_gives(bench, tmp_path, name):
    model = build_model(TEXTS[name], bench["weights"], CPU)
    tokenize = tokenizer.load_tokenizer(bench["weights"])
    captions = TokenizedCaptions(["red", "blue up", "to the left: green"], tokenize, training_bench.WORDS)
    expected = model.encode_sentences(captions.tokenized()[0])
    filled = frozen_feature_cache.FrozenCaptions(model, captions, tmp_path / name)
    fill(filled, np.arange(3))
    for which in ([0], [1, 0], [2, 0, 1]):
        given = filled.sentences(torch.tensor(which), CPU)
        assert given.keys() == expected.keys()
        seen = captions.tokenized(torch.tensor(which))[1].max() if "words" in given else 0
        for key, value in given.items():
            whole = expected[key][which] if key == "text" else expected[key][which, :seen]
            whole = whole * given["word_mask"][..., None] if key == "words" else whole
            value = value * given["word_mask"][..., None] if key == "words" else value
            torch.testing.assert_close(value, whole, atol=1e-6, rtol=0)


def test_captions_that_have_no_room_anywhere_are_encoded_as_they_come_and_that_is_said(bench, monkeypatch):
    monkeypatch.setattr(frozen_feature_cache, "IN_MEMORY", 0.0)
    result = with_cache(bench, TEXTS["x_pool"], "none", feature_cache_gib=0)
    assert not result.cost.texts_once
    assert "the whole text tower, 16 captions; a cache of it" in (bench["out"] / "none" / "log.txt").read_text()


@pytest.fixture
def cache(bench, tmp_path):
    """Caches of one model and store, each opened anew, in a folder of that name."""
    model = build_model(SPECS["partial"], bench["weights"], CPU)
    store = FrameStore(bench["store"])
    return lambda name: frozen_feature_cache.FrozenFeatureCache(model, store, tmp_path / name)


def fill(cache, rows, stop_after=None):
    filled = []

    def on_progress(done, total):
        filled.append(done)

    def raise_if_stopped():
        if stop_after is not None and len(filled) >= stop_after:
            raise KeyboardInterrupt

    try:
        cache.compute(np.asarray(rows), on_progress, raise_if_stopped)
    except KeyboardInterrupt:
        assert stop_after is not None
    return len(filled)


def streams(cache, rows):
    buffer = cache.buffer(len(rows), pinned=False)
    cache.fill(rows, buffer)
    return buffer


def test_a_stopped_filling_goes_on_and_other_videos_join_with_the_same_bits(cache):
    rows = np.arange(len(cache("whole").store))
    whole = cache("whole")
    blocks = fill(whole, rows)
    assert blocks == -(-len(rows) // frozen_feature_cache.VIDEOS) > 2
    assert fill(cache("parts"), rows[::-1], stop_after=1) == 1
    assert fill(cache("parts"), rows[:1]) == 0  # its block is there
    assert fill(cache("parts"), rows) == blocks - 1
    assert torch.equal(streams(cache("parts"), rows), streams(whole, rows))
    assert fill(cache("parts"), rows) == 0


def test_rows_are_what_the_tower_gives(cache):
    filled = cache("rows")
    rows = np.array([5, 0, 17])
    fill(filled, rows)
    pixels, mask = (torch.from_numpy(array) for array in filled.store.get_rows(rows))
    clip = filled.model.adapted.clip
    with torch.no_grad():
        expected = clip.encode_prefix(clip.normalise(pixels), mask, 1)
    torch.testing.assert_close(streams(filled, rows), expected, atol=1e-6, rtol=0)
    assert expected.abs().max() > 0.1


def test_a_signal_while_filling_keeps_what_is_there(bench, tmp_path, monkeypatch):
    calls, original = [], StopSignal.raise_if_stopped

    def raise_if_stopped(self):
        calls.append(1)
        if len(calls) > 2:
            self.request("SIGTERM")
        original(self)

    with monkeypatch.context() as patch:
        patch.setattr(StopSignal, "raise_if_stopped", raise_if_stopped)
        with pytest.raises(StopRequested):
            with_cache(bench, SPECS["partial"], "stopped")
    folder = next((bench["weights"].parent / "feature_cache").glob("*/*"))
    assert np.fromfile(folder / "done.bin", np.uint8).sum() == len(calls) - 1
    assert with_cache(bench, SPECS["partial"], "stopped").cost.prefix_blocks == 1


def test_the_log_names_what_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("petvr.training.log.QUIET_SECONDS", 0.0)
    with RunLog(tmp_path / "log.txt", show=False) as log:
        log.step(3, 7, None, "frozen part, block of videos")
    assert "frozen part, block of videos 3 of 7" in (tmp_path / "log.txt").read_text()
