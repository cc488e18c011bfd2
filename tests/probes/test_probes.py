"""What a method can see: declared, true of its arithmetic, learnt in a short training, measured anew at a change."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from petvr import cli, probes
from petvr.errors import PetvrError
from petvr.probes import clips, measure
from petvr.report.docs import probes_page

ORDERED = [name for name, model in probes.models().items() if model.order]


def test_clips_of_an_order_probe_are_the_same_frames_and_others_are_not():
    for name in probes.PROBES:
        data = clips.pairs(name, "test", 16)
        for one, two in data.pixels.unflatten(0, (16, 2)):
            frames = [sorted(frame.numpy().tobytes() for frame in clip) for clip in (one, two)]
            assert (frames[0] == frames[1]) is (name in probes.ORDER), name
            assert not torch.equal(one, two)
        assert len({tuple(row) for row in data.ids.tolist()}) == 32, "a caption is true of one clip of a batch"


def test_counted_pieces_are_as_many_as_the_caption_says():
    rng = np.random.default_rng(0)
    for number, lengths in enumerate(clips.COUNTS.values(), start=1):
        for length in lengths:
            for _ in range(20):
                seen = clips.pieces(length, rng)
                starts = sum(now and not before for before, now in zip([False, *seen], seen, strict=False))
                assert (len(seen), sum(seen), starts) == (clips.FRAMES, 3, number)


def test_intervals_are_wilsons():
    assert probes.interval(50.0, 400) == pytest.approx((45.12, 54.88), abs=0.01)
    assert probes.interval(100.0, 400) == pytest.approx((99.05, 100.0), abs=0.01)
    assert [probes.outcome(share) for share in (50, 50.5, 56, 44)] == ["chance", "unclear", "above", "below"]


def reversed_difference(model: probes.ProbedModel) -> float:
    """How far scores of clips and of the same clips reversed lie apart, where everything that trains is moved."""
    spec = measure.spec_of(model, measure.SETTINGS.get(model.method, {}))
    built = measure.model_on(measure.weights.random(measure.CONFIG, 0), spec, torch.device("cpu"))
    generator, data = torch.Generator().manual_seed(1), clips.pairs("reversed", "test", 4)
    built.set_training(False)
    with torch.no_grad():
        for parameter, _ in built.trained.values():
            if parameter.dim():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
        texts = built.encode_texts(data.ids)
        scores = [
            built.scores(texts, built.encode_videos(pixels, data.mask, texts["text"]))
            for pixels in (data.pixels, data.pixels.flip(1))
        ]
    return float((scores[0] - scores[1]).abs().max() / scores[0].abs().max())


@pytest.mark.parametrize("name", probes.models())
def test_the_order_of_frames_reaches_the_score_of_exactly_those_that_declare_it(name):
    difference = reversed_difference(probes.models()[name])
    assert difference > 1e-4 if name in ORDERED else difference < measure.TIE, difference


@pytest.mark.slow
def test_a_short_training_shows_order_to_a_method_that_sees_it_and_to_no_other(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(measure, "STILLS_STEPS", 60)
    measure._still_weights.cache_clear()
    asked = ["probes", "--methods", "vop_p,bias", "--probes", "swapped", "--steps", "60", "--json"]
    file = tmp_path / "probes.json"
    assert cli.main([*asked, str(file)]) == 0
    first, said = json.loads(file.read_text()), capsys.readouterr()
    measure._still_weights.cache_clear()
    assert first["bias"]["accuracy"] == {"swapped": 50.0}
    assert probes.outcome(first["vop_p"]["accuracy"]["swapped"]) == "above"
    assert "expected" not in said.out and "120/120 bias" in said.err

    monkeypatch.setattr(measure, "measure_model", lambda *args, **more: pytest.fail("it is measured already"))
    assert cli.main([*asked, str(file)]) == 0
    first["bias"]["versions"]["methods/bias"] += 1
    file.write_text(json.dumps(first))
    with pytest.raises(pytest.fail.Exception):
        cli.main([*asked, str(file)])


def test_wrong_words_are_one_line(capsys):
    for words, said in [
        (["--methods", "vopf"], "'vopf'"),
        (["--probes", "time", "--json", "x.json"], "'time'"),
        (["--steps", "3"], "--json"),
    ]:
        assert cli.main(["probes", *words]) == 2
        assert said in capsys.readouterr().err


def test_every_method_is_measured_with_todays_versions():
    missing = probes.models().keys() - probes.fresh_results(probes.MEASURED).keys()
    assert not missing, f"petvr probes --methods {','.join(sorted(missing))}; petvr docs probes"


def test_what_is_not_as_expected_is_explained_and_nothing_else():
    results = probes.fresh_results(probes.MEASURED)
    unexpected = {
        (name, probe)
        for name, model in probes.models().items()
        for probe in probes.PROBES
        if not model.agrees(probe, results[name][probe])
    }
    assert unexpected == probes.REASONS.keys()


def test_the_page_of_probes_is_fresh():
    written = Path(__file__).parents[2] / "docs" / "probes.md"
    assert written.read_text(encoding="utf-8") == probes_page.probes_page(), "write it anew: petvr docs probes"


@pytest.mark.parametrize(
    "entry",
    [
        {"steps": 200},
        {"versions": {}, "steps": 200, "accuracy": {"reversed": 150.0}},
        {"versions": {}, "steps": "x", "accuracy": {}},
        7,
    ],
)
def test_a_file_that_is_none_of_probes_is_refused_and_kept(tmp_path, entry):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"vop": entry}))
    with pytest.raises(PetvrError, match=r"a\.json: vop"):
        probes.fresh_results(path)
