"""What is tried, who goes on, what is chosen, and how a choice reaches the final runs."""

import argparse
import itertools
import json
import random
import re
import shlex

import pytest
import torch
import training_bench as tiny
import tuning_bench as bench

from petvr import atomic, methods, planning, workflow
from petvr.commands import search as search_command
from petvr.config import Config, CustomDataset, load_config
from petvr.costs import budget
from petvr.errors import PetvrError
from petvr.layout import Layout
from petvr.report.figures import sensitivity
from petvr.result import TrialRecord
from petvr.run_ids import spec_of, untuned
from petvr.spec import RunSpec, Source
from petvr.training.model import build_model
from petvr.tuning import choices, decisions, trials_report
from petvr.tuning import study as study_module
from petvr.tuning.study import Study


def record(study: Study, id: str, rung: int, score: float | None) -> TrialRecord:
    return TrialRecord(
        id=id, spec=study.trials[id], rung=rung, epoch=study.epochs[rung], first_step=0, step=1, train_loss=None,
        validation=None, score=score, identity={}, train_seconds=0, eval_seconds=0, hardware={},
    )  # fmt: skip


def test_the_grid_is_even_in_the_logarithm_with_both_ends_and_two_axes_share_its_trials(tmp_path):
    rates = {"lr_new": [1e-6, 1e-2], "lr_clip": [1e-7, 1e-3]}
    study = bench.study(bench.config(tmp_path, trials=9, keep=[3, 1], rates=rates))
    assert study.axes == {"recipe.lr_new": (1e-6, 3.2e-6, 1e-5, 3.2e-5, 1e-4, 3.2e-4, 1e-3, 3.2e-3, 1e-2)}
    two = bench.study(bench.config(tmp_path, trials=9, keep=[3, 1], rates=rates), "mv_adapter")
    assert two.axes == {"recipe.lr_new": (1e-6, 1e-4, 1e-2), "recipe.lr_clip": (1e-7, 1e-5, 1e-3)}
    assert len(two.trials) == 9 and two.epochs == (1, 2, 3)
    assert all(spec.seed == 5 and spec.recipe.selection == "best_on_val" for spec in two.trials.values())
    with pytest.raises(PetvrError, match=r"tuning.trials: 4 given.*lr_new and recipe.lr_clip.*a multiple of 3"):
        bench.study(bench.config(tmp_path, trials=4), "mv_adapter")
    with pytest.raises(PetvrError, match=r"3 rungs in 2 epoch\(s\) fall together"):
        bench.study(bench.config(tmp_path), epochs=2)


@pytest.mark.parametrize(
    ("tuning", "says"),
    [
        ({"rungs": [0.1, 0.5, 1]}, "0.2 or more to 1"),
        ({"rungs": [0.2, 0.6]}, "0.2 or more to 1"),
        ({"keep": [1, 1]}, "a third or more, and not all"),
        ({"keep": [2]}, "2 numbers, one for each rung but the first"),
        ({"rates": {"lr_new": [1e-2, 1e-3]}}, "the lower first"),
        ({"rates": {"lr_new": [0, 1e-3]}}, "1e-12 to 1, the lower first"),
        ({"rates": {"lr_new": [1e-300, 1e-3]}}, "1e-12 to 1, the lower first"),
    ],
)
def test_a_tuning_that_would_not_be_fair_is_refused(tmp_path, tuning, says):
    with pytest.raises(ValueError, match=says):
        bench.config(tmp_path, **tuning)


def test_a_decision_depends_on_the_records_alone_and_equal_scores_go_to_the_smaller_rate(tmp_path):
    study = bench.study(bench.config(tmp_path))
    ids = list(study.trials)
    records = [record(study, id, 0, score) for id, score in zip(ids, (50.0, 70.0, None, 70.0), strict=True)]
    orders = list(itertools.permutations(records))
    made = {json.dumps(decisions.decide(study, 0, order)) for order in random.Random(0).sample(orders, 8)}
    assert len(made) == 1
    assert json.loads(made.pop())["promoted"] == [ids[1], ids[3]]
    last = decisions.decide(study, 2, [record(study, ids[0], 2, 1.0)])
    assert last["chosen"] == {"recipe.lr_new": 1e-3} and last["edge"] == ["recipe.lr_new"]
    assert decisions.decide(study, 2, [record(study, ids[1], 2, 1.0)])["edge"] == []
    with pytest.raises(PetvrError, match="every trial that reached the last rung diverged"):
        decisions.decide(study, 2, [record(study, ids[0], 2, None)])
    with pytest.raises(PetvrError, match="is no trial of rung 1"):
        decisions.decide(study, 1, records)


def chosen(config: Config, run: RunSpec, place: int = 1) -> Study:
    """As if tuning had come to an end."""
    study = choices.study_of(config, run)
    layout = Layout(config.results)
    for rung in range(3):
        one = record(study, list(study.trials)[place], rung, 10.0)
        one.write(decisions.trial_folder(layout, study.cell, one.id) / f"rung-{rung}.json")
    decisions.write_decision(decisions.last_decision_file(layout, study), decisions.decide(study, 2, [one]))
    return study


def test_a_choice_reaches_the_run_with_its_source_and_a_committed_lock_wins(tmp_path):
    config, run = bench.config(tmp_path), bench.run()
    waiting = choices.tuned_run(config, run)
    assert waiting.undecided and waiting.id == run.id == "vop/colours/tiny/lora/seed-0"
    study = chosen(config, run)
    final = choices.tuned_run(config, run)
    assert final.recipe.lr_new == 4.6e-3 and final.tuned == {"recipe.lr_new": 4.6e-3} and final.id == run.id
    assert final.sources["recipe.lr_new"].origin == "tuned"
    assert final.sources["recipe.lr_new"].where.startswith("best of 4 trials on validation; ")
    assert waiting.digest() == run.digest() != final.digest()
    assert waiting.protocol_digest() == final.protocol_digest() != final.digest()
    path = choices.freeze(config, study)
    assert path == tmp_path / "locks/tuning/lora-colours.json"
    chosen(config, run, place=0)
    kept = choices.choice_of(config, run)
    assert kept.frozen and kept.source == path and kept.values == {"recipe.lr_new": 4.6e-3}
    assert choices.tuned_run(config, run).digest() == final.digest(), "the same values are the same run"
    path.write_text(path.read_text().replace("0.0046", "0.0047", 1))
    with pytest.raises(PetvrError, match=r"lora-colours\.json: altered"):
        choices.tuned_run(config, run)


def test_another_grid_or_protocol_is_not_taken_for_this_ones_choice_but_a_lock_says_so(tmp_path):
    config, run = bench.config(tmp_path), bench.run()
    study = chosen(config, run)
    longer = run.model_copy(update={"recipe": run.recipe.model_copy(update={"weight_decay": 0.1})})
    wider = bench.config(tmp_path, rates={"lr_new": [1e-4, 1e-1]})
    assert choices.choice_of(config, longer) is None and choices.choice_of(wider, run) is None
    choices.freeze(config, study)
    for settings, other in ((config, longer), (wider, run)):
        assert "under another grid or protocol" in choices.choice_of(settings, other).said().where


def test_final_runs_have_other_seeds_than_the_trials(tmp_path):
    config = bench.config(tmp_path).model_copy(update={"seeds": [0, 5]})
    with pytest.raises(PetvrError, match=r"seeds: 5 is the seed of the trials \(tuning\.seed\)"):
        choices.tuned_run(config, bench.run())
    choices.freeze(one := bench.config(tmp_path), chosen(one, bench.run()))
    moved = one.model_copy(update={"tuning": one.tuning.model_copy(update={"seed": 6}), "seeds": [5]})
    with pytest.raises(PetvrError, match=r"seeds: 5 is the seed of the trials \(.*lora-colours\.json\)"):
        choices.tuned_run(moved, bench.run())


def test_the_mean_best_of_n_is_that_of_all_subsets():
    scores = [3.0, 1.0, 5.0, 2.0, 4.0]
    for n, value in enumerate(trials_report.expected_best(scores), 1):
        subsets = list(itertools.combinations(scores, n))
        assert value == pytest.approx(sum(map(max, subsets)) / len(subsets))
    assert trials_report.expected_best(scores)[1] == pytest.approx(4.0)


def test_rungs_agree_or_not(tmp_path):
    study = bench.study(bench.config(tmp_path))
    ids = list(study.trials)
    early = [record(study, id, 0, score) for id, score in zip(ids, (1.0, 2.0, 3.0, 4.0), strict=True)]
    late = [record(study, id, 1, score) for id, score in zip(ids, (1.0, 3.0, 2.0), strict=False)]
    assert trials_report.agreement([*early, *late], 0) == pytest.approx(1 / 3), "of three pairs one is turned round"
    assert trials_report.agreement([*early, *late[:1]], 0) is None


def test_nothing_of_the_papers_is_tuned_unless_it_is_asked_for():
    assert not any(run.tuned for run in planning.plan(load_config()).runs.values())
    assert methods.tuned_axes("vop") == {"lr_new": ()}
    with pytest.raises(PetvrError, match="TUNE names lr_head, lr_clip, lr_new, allowed: 2 together"):
        methods.tuned_axes("ts2_net+lora")


@pytest.mark.slow
def test_every_method_names_the_rates_of_what_it_trains(tmp_path):
    weights = tiny.write_weights(tmp_path / "weights")
    small = {"ju": {"prefix": 4, "postfix": 3}, "vop_f": {"shallow": 1}}
    for method in methods.available():
        setting = {key: 4 for key in ("ds", "r") if key in methods.declared(method).settings} | small.get(method, {})
        similarity = methods.similarity_of(method) or "mean_pool"
        model = build_model(tiny.spec(method, setting=setting, similarity=similarity), weights, torch.device("cpu"))
        trained = {f"lr_{part}" for one, part in model.trained.values() if one is not model.logit_scale}
        assert set(methods.tuned_axes(method)) == trained, method


def test_the_plan_counts_trials_apart_and_no_frozen_ones():
    config = load_config()
    row = next(run for run in planning.plan(config).runs.values() if run.method == "vop")
    open_rates = row.model_copy(update={"sources": row.sources | {"recipe.lr_new": bench.TUNED}})
    study = choices.study_of(config, open_rates.model_copy(update={"tuned": {"recipe.lr_new": None}}))
    assert study.epochs_of_all == 9 * 1 + 3 * 2 + 1 * 2 == 17 and sum(study.sizes) == 13
    plan = planning.plan(config)
    without = budget.estimate(plan)
    cost = budget.estimate(plan, tuning=[(study.run, study.epochs_of_all, 13)])
    assert cost.total == without.total and not without.tuning
    assert cost.tuning["vop"].runs == 13 and cost.tuning["vop"].gpu_hours > budget.estimate(plan).total.gpu_hours / 1e4
    assert "tuning of vop, apart from these: 13 jobs of trials" in budget.render_text(cost)


def test_guesses_are_tuned_as_a_second_row_and_never_in_place_of_the_first():
    config = load_config().model_copy(update={"tables": ["vop/table_3"]})
    plain, more = planning.plan(config), planning.plan(config.model_copy(update={"tune": "guesses"}))
    assert plain.runs.items() <= more.runs.items(), "what is guessed stays as it was"
    names = [row.name for row in more.tables["vop/table_3"].rows]
    assert names[:4] == ["Full", "Full (guesses tuned)", "Bias", "Bias (guesses tuned)"]
    new = {id: run for id, run in more.runs.items() if id not in plain.runs}
    assert len(new) == len(plain.training_runs) and all(run.undecided for run in new.values())
    for id, run in new.items():
        first = plain.runs[re.sub("@tune=guesses(?=/)|,tune=guesses|(?<=@)tune=guesses,", "", id)]
        assert run.recipe == first.recipe and all(first.sources[key].origin == "guess" for key in run.tuned)
        assert spec_of(config.model_copy(update={"tune": "guesses"}), id, more) == run
        choice = {key: 0.5 for key in run.tuned}
        for one in (run, study_module.with_values(run, choice, bench.TUNED)):
            before = untuned(config, one)
            assert all((before.values()[key], before.sources[key]) == (first.values()[key], first.sources[key])
                       for key in run.tuned)  # fmt: skip


def test_the_sensitivity_shows_what_the_recipe_has_and_what_was_chosen(tmp_path, monkeypatch):
    config, run = bench.config(tmp_path), bench.run()
    study, drawn = chosen(config, run), []
    monkeypatch.setattr(sensitivity.style, "save", lambda figure, path: drawn.append(figure))
    rows = trials_report.trial_rows(Layout(config.results), study)
    for stated in ((2e-2, "guess"), None):
        sensitivity.draw_sensitivity(tmp_path / "drawn.svg", rows, {"lr_new": stated}, study.cell)
    marked, plain = ([text.get_text() for text in one.axes[0].get_legend().get_texts()] for one in drawn)
    assert marked == ["epoch 1", "epoch 2", "epoch 3", "chosen: 0.0046", "the recipe's guess: 0.02"]
    assert plain == marked[:-1]
    panel = drawn[0].axes[0]
    at = {line.get_label(): list(map(float, line.get_xdata())) for line in panel.lines}
    assert at["chosen: 0.0046"] == [0.0046] and at["the recipe's guess: 0.02"] == [0.02, 0.02]
    assert panel.get_xscale() == "log" and panel.get_xlabel() == "lr_new: learning rate of new parameters"
    assert panel.get_ylabel() == "RSum on validation,\nmean of both directions"


def test_what_was_edited_copied_or_renamed_below_tuning_is_refused(tmp_path):
    config, run = bench.config(tmp_path), bench.run()
    layout, study = Layout(config.results), chosen(config, run)
    decision = decisions.last_decision_file(layout, study)
    whole = decision.read_text()
    without_seal = json.dumps({key: part for key, part in json.loads(whole).items() if key != "seal"})
    for text, said in (
        (whole.replace("0.0046", "0.1"), "altered or damaged"),
        (whole.replace("0.0046", "NaN"), "NaN"),
        (whole[: len(whole) // 2], "not JSON"),
        (without_seal, "no checksum"),
        ("[]", "expected a dict"),
    ):
        decision.write_text(text)
        with pytest.raises(PetvrError, match=said):
            choices.choice_of(config, run)
    decision.write_text(whole)
    path = choices.freeze(config, study)
    other = path.with_name("full-colours.json")
    other.write_bytes(path.read_bytes())
    with pytest.raises(PetvrError, match=r"full-colours\.json: holds .*, which belongs into another file"):
        choices.read_lock(other)
    cells = json.loads(path.read_text())["cells"]
    for spoilt, said in (
        ({"lora": cells[study.cell]}, "belongs into another file"),
        ({study.cell: 3}, r"lora-colours\.json: .*: 3 given, allowed: keys with values"),
        ({study.cell: cells[study.cell] | {"seed": -1}}, "seed: .*not -1"),
        ({study.cell: {"values": {}}}, "edge: is missing"),
    ):
        path.write_text(json.dumps(atomic.sealed({"cells": spoilt})))  # as another petvr would have written it
        with pytest.raises(PetvrError, match=said):
            choices.read_lock(path)
    path.write_text(json.dumps({"cells": cells}))
    with pytest.raises(PetvrError, match="no checksum"):
        choices.choice_of(config, run)
    first, second = list(study.trials)[:2]
    with pytest.raises(PetvrError, match="a trial twice"):
        decisions.decide(study, 0, [record(study, first, 0, 1.0), record(study, first, 0, 2.0)])
    record(study, first, 0, 1.0).write(decisions.trial_folder(layout, study.cell, second) / "rung-0.json")
    with pytest.raises(PetvrError, match="copied here"):
        decisions.all_records(layout, study.cell)


def test_a_row_with_more_kinds_of_rates_than_axes_is_named_and_left_as_it_is(tmp_path, capsys):
    guessed = bench.run("lora").model_copy(update={"tuned": {}, "method": "ts2_net+lora"})
    sources = dict.fromkeys(guessed.sources, Source(origin="guess"))
    config = bench.config(tmp_path).model_copy(update={"tune": "guesses"})
    assert choices.guesses_tuned(config, guessed.model_copy(update={"sources": sources})) is None
    assert "ts2_net+lora: its guesses are not tuned" in capsys.readouterr().err


def test_own_videos_are_tuned_along_every_rate_and_validation_names_the_best_method(tmp_path):
    captions = tmp_path / "captions.csv"
    lines = [f"{n}.mp4,take {n},{'train' if n < 200 else 'test'}" for n in range(220)]
    captions.write_text("\n".join(["video,caption,split", *lines, ""]))
    own = {"mine": CustomDataset(captions=captions, methods=["zero_shot", "full", "rap"], tune=True)}
    changes = {"custom_datasets": own, "tables": ["own/mine"], "results": tmp_path / "results", "locks": tmp_path}
    config = load_config().model_copy(update=changes)
    runs = planning.plan(config).runs
    tuned = {run.method: run.tuned for run in runs.values()}
    assert tuned == {"zero_shot": {}, "full": {"recipe.lr_clip": None}, "rap": {"recipe.lr_new": None}}
    assert {run.recipe.selection for run in runs.values()} == {"last"}, "the test split chooses no epoch"
    (warned,) = workflow.few_judges_lines(config)
    assert "mine: rates are judged on 10 validation video(s), where one answer is 10 points" in warned
    known = study_module.studies(config, list(runs.values()))
    layout = Layout(config.results)
    assert trials_report.best_lines(layout, config, list(known.values())) == []
    for cell, score in zip(known, (210.0, 220.0), strict=True):
        study = known[cell]
        last = record(study, next(iter(study.trials)), 2, score)
        decisions.write_decision(decisions.last_decision_file(layout, study), decisions.decide(study, 2, [last]))
    said, missing, search = trials_report.best_lines(layout, config, list(known.values()))
    assert said == "mine: best on validation of what was tuned: rap/mine/vit-b-32/rap; search with it:"
    assert missing == f"  snakemake {layout.result('rap/mine/vit-b-32/rap/seed-0')}"
    parser = argparse.ArgumentParser()
    search_command.arguments(parser)
    asked = parser.parse_args(shlex.split(search)[2:])
    assert (asked.run, asked.sentence) == ("rap/mine/vit-b-32/rap/seed-0", "a sentence")
