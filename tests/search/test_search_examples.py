"""`petvr examples`: queries by rule and seed, with ranks that are the run's own and pages that need nothing else."""

import re

import frames_zoo as zoo
import numpy as np
import pytest
import torch
import training_bench as tiny
from PIL import Image

from petvr import cli
from petvr.data.datasets import Split
from petvr.errors import PetvrError
from petvr.report.examples.choose import choose_queries, hardest_false_matches, sample
from petvr.report.examples.page import Page, RunExamples, write_page
from petvr.report.examples.pictures import modulation_weight
from petvr.retrieval.metrics import RankCounts
from petvr.search import features, opened
from petvr.search.answers import SplitAnswers, split_answers
from petvr.search.attention import patch_maps


def answers(scores, captions=None):
    """Caption n belongs to video n."""
    scores = np.array(scores, np.float32)
    captions = tuple(captions or (f"caption {n}" for n in range(len(scores))))
    videos = tuple(f"v{n}" for n in range(scores.shape[1]))
    texts = list(dict.fromkeys(captions))
    text_of = np.array([texts.index(caption) for caption in captions])
    rows = scores[[captions.index(text) for text in texts]]
    return SplitAnswers(Split("test", videos, captions, tuple(range(len(captions)))), texts, text_of, rows)


A = answers([[3, 1, 0, 0], [0, 3, 1, 0], [9, 0, 1, 0], [0, 0, 2, 1]])
B = answers([[3, 1, 0, 0], [4, 3, 1, 0], [0, 0, 1, 0], [0, 0, 2, 1]])


def test_groups_hold_what_their_rules_say():
    groups = {group.title: group for group in choose_queries([A, B], ["A", "B"], 9)}
    assert {title: sorted(group.captions) for title, group in groups.items()} == {
        "Both right": [0],
        "Only A right": [1],
        "Only B right": [2],
        "Both wrong": [3],
        "Hardest false matches": [2, 3],
        "Doubled captions": [],
    }
    assert hardest_false_matches(A) == [2, 3], "8 before 1"
    one = {group.title: sorted(group.captions) for group in choose_queries([A], ["the run"], 9)}
    assert (one["Right"], one["Wrong"]) == ([0, 1], [2, 3])


def test_a_sample_depends_on_seed_and_caption_alone():
    captions = [f"caption {n}" for n in range(50)]
    shown = [captions[n] for n in sample(captions, range(50), 5, seed=0)]
    shuffled = captions[::-1]
    assert [shuffled[n] for n in sample(shuffled, range(50), 5, seed=0)] == shown
    assert [captions[n] for n in sample(captions, range(50), 5, seed=1)] != shown


def test_doubled_captions_and_ties_count_as_the_metrics_do():
    doubled = answers([[2, 2, 0], [2, 2, 0], [0, 0, 1]], ["same", "same", "other"])
    assert doubled.caption_ranks().tolist() == [1.5, 1.5, 1.0]
    groups = {group.title: group for group in choose_queries([doubled], ["the run"], 9)}
    assert [doubled.split.captions[n] for n in groups["Doubled captions"].captions] == ["same"]


@pytest.mark.slow
def test_ranks_are_the_runs_own_and_the_page_needs_nothing_else(bench, tmp_path):
    tiny.train(tiny.spec("rap", setting={"hidden": 4}, epochs=1, lr_new=1e-2), **bench)
    run = opened.open_run(
        bench["out"], weights=bench["weights"], store=bench["store"], dataset=bench["dataset"], device="cpu", threads=1
    )
    split = run.split("test")
    given = split_answers(run, split, tmp_path / "k", progress=False)
    chosen = run.result.selected[run.result.spec.recipe.selection]
    with np.load(bench["out"] / "ranks.npz") as file:
        ranks = RankCounts.from_array(file[f"{chosen}/plain/t2v"]).mean_place
    assert given.caption_ranks().tolist() == ranks.tolist()

    videos = bench["dataset"].videos
    videos.mkdir(exist_ok=True)
    for video in split.videos:
        zoo.write(videos / f"{video}.mp4", frames=4, codec="h264")
    page = Page(
        "<examples>",
        choose_queries([given], ["the run"], 3),
        [RunExamples("a/run", given, "R@1")],
        run.dataset,
        run.frames,
    )
    written = write_page(page, tmp_path / "page", tmp_path / "single.html")
    html = written.read_text(encoding="utf-8")
    assert "&lt;examples&gt;" in html and "<examples>" not in html
    links = set(re.findall(r'(?:src|href)="([^"#]+)', html))
    assert links and all((written.parent / link).is_file() for link in links)
    # as one file: no link leads out of it, no folder of this machine is named
    single = (tmp_path / "single.html").read_text(encoding="utf-8")
    assert set(re.findall(r'(?:src|href)="([^"]{5})', single)) == {"data:"} | set(
        re.findall(r'href="(#[^"]{4})', single)
    )
    assert single.count("<img") == html.count("<img") and str(tmp_path) not in single
    strip = Image.open(written.parent / "strips" / "0001.jpg")
    assert strip.height == tiny.SIZE and strip.width in (2 * tiny.SIZE + 2, 3 * tiny.SIZE + 4)

    # asynchronous attention: with offsets at zero the maps agree, and the model answers as before afterwards
    weight = modulation_weight(bench["out"] / "adapter.safetensors")
    assert weight.shape == (tiny.FRAMES,) and (weight > 0).all()
    sentences = features.sentences(run, tmp_path / "k", progress=False)
    maps = patch_maps(run, split.videos[0], split.captions[0], sentences)
    assert maps.vanilla.shape == maps.asynchronous.shape and maps.vanilla.shape[1] == 4
    assert maps.vanilla[maps.frame, maps.patch] <= 1.0001
    with torch.no_grad():
        again = split_answers(run, split, tmp_path / "k2", progress=False)
    assert np.array_equal(again.scores, given.scores)


@pytest.mark.slow
def test_a_run_without_asynchronous_attention_is_told(bench, tmp_path):
    tiny.train(tiny.spec("zero_shot", train=False), **bench)
    run = opened.open_run(
        bench["out"], weights=bench["weights"], store=bench["store"], dataset=bench["dataset"], device="cpu", threads=1
    )
    with pytest.raises(PetvrError, match="no asynchronous attention"):
        patch_maps(run, "test0", "red left", None)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["examples", "a", "b", "c"], "petvr examples: 3 runs given, allowed: one or two"),
        (["examples", "a", "--count", "0"], "--count: 0 given, allowed: 1 or more"),
        (["serve", "--run", "a", "--run", "b", "--run", "c"], "petvr serve: 3 runs given, allowed: one or two"),
        (["figure", "rap/figure_9"], "unknown figure 'rap/figure_9' (did you mean 'rap/figure_"),
        (["figure"], "name a figure or a table, or say --list"),
        (
            ["figure", "rap/figure_1_top"],
            "rap/figure_1_top: rap/msrvtt-9k/vit-b-32/rap/seed-0: missing: nothing yet; "
            "`snakemake --cores all results/runs/rap/msrvtt-9k/vit-b-32/rap/seed-0/result.json` makes it",
        ),
    ],
)
def test_what_cannot_be_shown_is_one_line(words, told, capsys):
    assert cli.main(words) == 2
    assert told in capsys.readouterr().err
