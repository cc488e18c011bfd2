"""Trials: equal budgets, nothing trained twice, the last rung an undisturbed run, and nobody looks at the test set."""

import contextlib
import json
import random
from dataclasses import replace

import pytest
import training_bench as tiny
import tuning_bench as bench
from safetensors import safe_open
from safetensors.torch import load_file

from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.result import TrialRecord
from petvr.training import run, trial
from petvr.training.data import SealedSplitRead, sealed
from petvr.training.options import TrainOptions
from petvr.training.signals import StopRequested, StopSignal
from petvr.tuning import choices, decisions


@pytest.fixture
def counted(monkeypatch):
    """(spec id, step) of every training step that was taken."""
    steps = []

    def train_step(spec, state, *rest):
        steps.append((spec.digest(), state.step))
        original(spec, state, *rest)

    original = trial.train_step
    monkeypatch.setattr(trial, "train_step", train_step)
    return steps


def state_of(config, study, id):
    """Step and trained tensors of a trial's newest checkpoint, as bytes."""
    path = max(Layout(config.results).trial_state(study.cell, id).glob("step-*.safetensors"))
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name).numpy().tobytes() for name in file.keys()}  # noqa: SIM118


def locked(config, study):
    return choices.freeze(config, study).read_bytes()


@pytest.mark.slow
def test_every_method_gets_the_same_steps_none_twice_and_the_last_rung_is_an_undisturbed_run(tmp_path, counted):
    """One rate, and two that share the trials; counted, from the records, and in the lock."""
    options, spent = bench.world(tmp_path), {}
    for method, tuning in (("lora", {}), ("mv_adapter", {"trials": 6, "keep": [2, 1]})):
        config = bench.config(tmp_path / method, **{"trials": 6} | tuning)
        study = bench.study(config, method)
        assert len(study.trials) == 6
        counted.clear()
        decision = bench.go(config, study, options)
        assert len(set(counted)) == len(counted), "no step is taken twice"
        records = [TrialRecord.read(path) for path in Layout(config.results).tuning(study.cell).glob("trials/*/rung-*")]
        spent[method] = [len(counted), sum(one.step - one.first_step for one in records)]
        spent[method] += [choices.read_lock(choices.freeze(config, study))[study.cell]["steps_decided"]]
        chosen = next(id for id, one in study.trials.items() if study.values(one) == decision["chosen"])
        whole = study.trials[chosen]
        whole = whole.model_copy(update={"recipe": whole.recipe.model_copy(update={"selection": "last"})})
        tiny.train(whole, **options | {"out": tmp_path / method / "out", "state": tmp_path / method / "state"})
        trained = load_file(tmp_path / method / "out" / "adapter.safetensors")
        last = state_of(config, study, chosen)
        assert {name: tensor.numpy().tobytes() for name, tensor in trained.items()} == {
            name.removeprefix("model/"): data for name, data in last.items() if name.startswith("model/")
        }
    per_epoch = 6  # 48 pairs in batches of 8
    assert spent["lora"] == spent["mv_adapter"] == [per_epoch * (6 + 2 + 1)] * 3


@pytest.mark.slow
def test_stopped_after_every_step_of_every_rung_it_ends_alike(tmp_path, monkeypatch):
    options = bench.world(tmp_path)
    calm, killed = bench.config(tmp_path / "calm"), bench.config(tmp_path / "killed")
    study = bench.study(calm)
    bench.go(calm, study, options)
    starts = []

    @contextlib.contextmanager
    def stopped_after_one_step():
        stop = StopSignal()
        with pytest.MonkeyPatch.context() as patch:
            original = trial.train_step
            patch.setattr(trial, "train_step", lambda *given: (original(*given), stop.request("SIGTERM")))
            yield stop

    def insist(*given):
        while True:
            starts.append(given[3])
            with contextlib.suppress(StopRequested):
                return trial.train_trial(*given)

    with monkeypatch.context() as patch:
        patch.setattr(trial, "catch_signals", stopped_after_one_step)
        bench.go(killed, study, options, insist)
    assert [starts.count(rung) for rung in range(3)] == [4 * 7, 2 * 7, 7], "six steps and the validation, each rung"
    assert locked(calm, study) == locked(killed, study)
    for id in study.trials:
        assert state_of(calm, study, id) == state_of(killed, study, id)


@pytest.mark.slow
def test_a_changed_grid_trains_only_what_is_new_and_says_what_was_spent(tmp_path, counted):
    options, config = bench.world(tmp_path), bench.config(tmp_path)
    first = bench.study(config)
    bench.go(config, first, options)
    counted.clear()
    assert bench.go(config, first, options)["chosen"] and not counted, "asked again, nothing is trained"
    wider = bench.config(tmp_path, trials=7, keep=[3, 1])
    second = bench.study(wider)
    new = second.trials.keys() - first.trials.keys()
    assert len(new) == 3 and choices.choice_of(wider, second.run) is None
    bench.go(wider, second, options)
    assert {id for id, step in counted if step < 6} == new
    entry = choices.read_lock(choices.freeze(wider, second))[second.cell]
    assert entry["steps_spent"] == entry["steps_decided"] == (4 * 6 + 2 * 6 + 6) + len(counted)
    fewer = bench.config(tmp_path)
    bench.go(fewer, first, options)
    entry = choices.read_lock(choices.freeze(fewer, first))[first.cell]
    assert entry["steps_spent"] > entry["steps_decided"]


def judged_on(monkeypatch, split):
    """What a careless change would do: the trials are ranked on what `split(splits)` gives."""
    original = trial.evaluate.open_evaluation_data

    def opened(spec, splits, *rest):
        return original(spec, splits, *rest[:-1], split(splits))

    monkeypatch.setattr(trial.evaluate, "open_evaluation_data", opened)


def test_in_tuning_the_test_split_refuses_whoever_asks_for_it(tmp_path, monkeypatch):
    options, config = bench.world(tmp_path), bench.config(tmp_path)
    with monkeypatch.context() as patch:
        judged_on(patch, lambda splits: splits.test.split)
        with pytest.raises(SealedSplitRead, match="test split was asked for `split` in tuning"):
            bench.go(config, bench.study(config), options)
    closed = sealed(options["dataset"])
    with pytest.raises(SealedSplitRead):
        closed.split("test")
    assert closed.split("val").videos and closed.validation().split.videos


@pytest.mark.slow
def test_shuffled_test_captions_and_poisoned_test_scores_leave_the_lock_byte_for_byte(tmp_path, monkeypatch):
    options, shades, locks = bench.world(tmp_path), random.Random(0).sample(tiny.SHADES, len(tiny.SHADES)), []

    def turned(video):
        return [f"{shades[tiny.facts(video)[0]]} nowhere", "nothing"]

    for name in ("clean", "poisoned", "leaking"):
        config = bench.config(tmp_path / name)
        study = bench.study(config)
        with monkeypatch.context() as patch:
            if name != "clean":
                patch.setattr(bench.Judged, "test_captions", staticmethod(turned))
                patch.setattr(run, "evaluate_step", lambda *given: pytest.fail("the test split was ranked"))
            if name == "leaking":
                judged_on(patch, lambda splits: options["dataset"].split("test"))
            bench.go(config, study, options)
        locks.append(locked(config, study))
    assert locks[0] == locks[1], "the same, twice, whatever the test set says"
    assert locks[0] != locks[2], "a leak would be seen here"


def test_a_trials_record_knows_no_test_score(tmp_path):
    options, config = bench.world(tmp_path), bench.config(tmp_path, trials=2, rungs=[1], keep=[])
    study = bench.study(config)
    bench.go(config, study, options)

    def keys(value):
        if isinstance(value, dict):
            return {key for one in value.items() for key in (one[0], *keys(one[1]))}
        return {key for one in value for key in keys(one)} if isinstance(value, list) else set()

    for path in Layout(config.results).tuning(study.cell).rglob("*.json"):
        record = json.loads(path.read_text())
        record.pop("spec", None)
        assert not {key for key in keys(record) if "test" in key or key in ("plain", "dsl", "released")}
        if path.parent.name != study.cell.rpartition("/")[2]:
            leaked = record | {"spec": json.loads(path.read_text())["spec"], "test": record["validation"]}
            leaked.pop("seal")
            with pytest.raises(ValueError, match="Extra inputs"):
                TrialRecord.model_validate(leaked)


@pytest.mark.slow
def test_a_diverged_trial_is_last_goes_no_further_and_stops_nothing(tmp_path, counted):
    options, config = bench.world(tmp_path), bench.config(tmp_path, trials=3, keep=[2, 1])
    study = bench.study(config)
    worst = list(study.trials)[-1]

    def train_trial(spec, given, *rest):
        with pytest.MonkeyPatch.context() as patch:
            if spec.digest() == worst:
                patch.setattr(run.Model, "loss", lambda self, batch: self.logit_scale.sum() * float("nan"))
            return trial.train_trial(spec, given, *rest)

    bench.go(config, study, options, train_trial)
    layout = Layout(config.results)
    decision = json.loads(decisions.decision_file(layout, study.cell, 0).read_text())
    assert [one["score"] is None for one in decision["trials"]] == [False, False, True]
    assert decision["trials"][-1]["trial"] == worst
    record = TrialRecord.read(decisions.trial_folder(layout, study.cell, worst) / "rung-0.json")
    assert record.diverged == "the loss of step 1 is no number" and record.validation is None
    counted.clear()
    given = replace(TrainOptions(**options), out=decisions.trial_folder(layout, study.cell, worst),
                    state=layout.trial_state(study.cell, worst))  # fmt: skip
    again = trial.train_trial(study.trials[worst], given, study.epochs, 1, {"lr_new"})
    assert again.diverged and again.step == record.step and not counted


@pytest.mark.slow
def test_a_rung_whose_record_is_lost_is_made_again_though_the_checkpoint_went_on(tmp_path, counted):
    options, config = bench.world(tmp_path), bench.config(tmp_path, trials=2, rungs=[0.5, 1], keep=[1])
    study = bench.study(config)
    chosen = bench.go(config, study, options)["trials"][0]["trial"]
    path = decisions.trial_folder(Layout(config.results), study.cell, chosen) / "rung-0.json"
    before = TrialRecord.read(path)
    path.unlink()
    counted.clear()
    bench.go(config, study, options)
    assert TrialRecord.read(path).score == before.score and [step for _, step in counted] == list(range(12))


def test_a_method_whose_file_names_the_wrong_rate_is_told(tmp_path, monkeypatch):
    options, config = bench.world(tmp_path), bench.config(tmp_path)
    study = bench.study(config)
    given = replace(TrainOptions(**options), out=tmp_path / "out", state=tmp_path / "state")
    for axes, says in (({"lr_head"}, "trains nothing by lr_head"), (set(), "trains by lr_new, which nobody tunes")):
        with pytest.raises(PetvrError, match=rf"'lora' {says}.*must name lr_new"):
            trial.train_trial(next(iter(study.trials.values())), given, study.epochs, 0, axes)
