"""Ju et al.'s text: every token placed by hand."""

import math

import numpy as np
import pytest
import torch
from clip_by_hand import block, numbers, read

from petvr import methods
from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower
from petvr.errors import PetvrError

torch.set_num_threads(1)
TINY = ClipConfig(Tower(32, 3, 4, 64), Tower(24, 3, 2, 48), image=16, patch=8, positions=24, vocab=60, eot=59, embed=16)
SETTING = {"prefix": 3, "postfix": 2}


def made(setting=SETTING):
    found = methods.adapt(
        weights.random(TINY, 0), "ju", setting, frames=4, words=12, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():  # 0.01 would hide a prompt that is misplaced
        found.new["ju"].table.mul_(100)
    return found


@pytest.mark.parametrize("words", [[58, 7, 59], [58, 3, 4, 5, 9, 59]])
def test_words_stand_between_prompts_and_eot_behind_them(words):
    model = made()
    n = numbers(model)
    tokens, positions = (n[f"clip.text_model.embeddings.{key}_embedding.weight"] for key in ("token", "position"))
    table = n["new.ju.table"]
    sequence = [tokens[58], *table[1:4], *(tokens[word] for word in words[1:-1])]
    sequence += [table[len(sequence)], table[len(sequence) + 1], tokens[59]]
    stream = [x + positions[at] for at, x in enumerate(sequence)]
    for layer in range(TINY.text.layers):
        stream = block(n, "text", layer, stream, TINY.text.heads)
    expected = read(n, stream[-1])
    longest = torch.tensor([[*words, *[0] * (12 - len(words))], [58, *range(1, 11), 59]])
    with torch.no_grad():
        found = model.encode_texts(longest)[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_long_texts_are_cut_and_keep_eot():
    model = made({"prefix": 8, "postfix": 6})  # 24 - 14: ten places for SOT, words and EOT
    ids = torch.tensor([[58, *range(1, 11), 59]])
    with torch.no_grad():
        found, cut = model.encode_texts(ids), model.encode_texts(torch.tensor([[58, *range(1, 9), 59]]))
    assert torch.equal(found, cut)


def test_what_stands_behind_eot_gets_no_gradient():
    model = made()
    model.encode_texts(torch.tensor([[58, 7, 59, 0, 0, 0], [58, 3, 4, 59, 0, 0]])).square().sum().backward()
    heard = model.new["ju"].table.grad.abs().sum(dim=1) > 0
    assert heard.nonzero().flatten().tolist() == [1, 2, 3, 5, 6, 7]  # postfix at 5, 6 and at 6, 7


def test_scores_are_divided_by_the_temperature_and_the_scale_stays_frozen():
    assert made().logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    assert not made().logit_scale.requires_grad
    with pytest.raises(PetvrError, match="'temperature': 0 given, allowed: more than 0"):
        made({**SETTING, "temperature": 0.0})
    with pytest.raises(PetvrError, match="prefix=16, postfix=16 given"):
        made({})


def test_every_method_that_needs_a_similarity_finds_it_in_every_run_of_the_plan():
    from petvr import papers, planning, similarity
    from petvr.config import load_config

    needing = {name: methods.similarity_of(name) for name in methods.available() if methods.similarity_of(name)}
    assert {"seq_transf", "x_pool", "x_clip", "ju"} <= set(needing)
    assert set(needing.values()) <= set(similarity.available())
    config = load_config(["config.yaml"]).model_copy(update={"papers": list(papers.NAMES), "seeds": [0]})
    planned = planning.plan(config)
    asked = {(run.id, part) for run in planned.runs.values() for part in run.method.split("+") if part in needing}
    assert len(asked) > 20
    for name, part in asked:
        assert planned.runs[name].recipe.similarity == needing[part], name
