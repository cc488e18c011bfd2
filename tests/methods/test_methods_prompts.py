"""CoOp, VPT, VL-Prompt and MaPLe recomputed in numpy, token by token (clip_by_hand)."""

import clip_by_hand as hand
import numpy as np
import pytest
import torch

from petvr import methods, papers
from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower, geometry
from petvr.costs import params
from petvr.errors import PetvrError

torch.set_num_threads(1)
TINY = ClipConfig(Tower(16, 3, 2, 32), Tower(12, 3, 3, 24), image=8, patch=4, positions=12, vocab=30, eot=29, embed=6)
IDS = [28, 5, 9, 3, 29]


def adapted(method, setting, shake=0.3, clip=TINY):
    generator = torch.Generator().manual_seed(0)
    model = methods.adapt(weights.random(clip, 1), method, setting, frames=2, words=6, generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * shake)
    return model


def frames_by_hand(n, prompts, stay=False):
    """prompts [L, n, D], fresh in every block; with `stay` the first set alone, which lives on."""
    pixels = pixels_of_two().double().numpy()
    features = []
    for frame in pixels:
        tokens = [hand.pre(n, x) for x in hand.embed(n, TINY, frame)]
        for i in range(TINY.vision.layers):
            if i == 0:
                tokens[1:1] = [hand.pre(n, p) for p in prompts[0]]
            elif not stay:
                tokens[1 : 1 + len(prompts[i])] = list(prompts[i])
            tokens = hand.block(n, "vision", i, tokens, TINY.vision.heads)
        features.append(hand.read_frame(n, tokens[0]))
    return features


def text_by_hand(n, ids, prompts, positions, stay=False):
    words, place = (n[f"clip.text_model.embeddings.{k}_embedding.weight"] for k in ("token", "position"))
    tokens = [words[number] for number in ids]
    if positions == "used":
        tokens[1:1] = list(prompts[0])
    tokens = [x + place[at] for at, x in enumerate(tokens)]
    if positions == "free":
        tokens[1:1] = list(prompts[0])
    for i in range(TINY.text.layers):
        if i and not stay:
            tokens[1 : 1 + len(prompts[i])] = list(prompts[i])
        tokens = hand.block(n, "text", i, tokens, TINY.text.heads)
    return hand.read(n, tokens[-1])


def pixels_of_two():
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(4))


def compare(model, frames, text, ids=IDS):
    with torch.no_grad():
        np.testing.assert_allclose(model.encode_frames(pixels_of_two()[None])[0], frames, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(model.encode_texts(torch.tensor([ids]))[0], text, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("positions", ["used", "free"])
def test_coop_puts_learned_context_behind_sot_once_and_leaves_frames_alone(positions):
    model = adapted("coop", {"tokens": 3, "positions": positions})
    n = hand.numbers(model)
    text = text_by_hand(n, IDS, n["new.coop.text"], positions, stay=True)
    compare(model, [hand.vision(n, TINY, frame.double().numpy()) for frame in pixels_of_two()], text)


def test_context_that_uses_positions_leaves_the_rest_to_the_words_and_keeps_eot():
    long = [28, 5, 9, 3, 7, 8, 6, 4, 2, 29]
    for tokens, kept in ((7, [28, 5, 9, 3, 29]), (2, long), (10, [28, 29])):
        model = adapted("coop", {"tokens": tokens})
        n = hand.numbers(model)
        expected = text_by_hand(n, kept, n["new.coop.text"], "used", stay=True)
        with torch.no_grad():
            np.testing.assert_allclose(model.encode_texts(torch.tensor([long]))[0], expected, atol=1e-4, rtol=1e-4)
    free = adapted("coop", {"tokens": 40, "positions": "free"})
    n = hand.numbers(free)
    expected = text_by_hand(n, long, n["new.coop.text"], "free", stay=True)
    with torch.no_grad():
        np.testing.assert_allclose(free.encode_texts(torch.tensor([long]))[0], expected, atol=1e-4, rtol=1e-4)


def test_64_tokens_of_context_leave_eleven_words_of_77_positions():
    clip = ClipConfig(Tower(16, 1, 2, 32), Tower(12, 1, 3, 24), 8, 4, positions=77, vocab=30, eot=29, embed=6)
    model = adapted("coop", {"tokens": 64}, clip=clip)
    words = list(range(1, 28))
    full, eleven, ten = ([28, *words[:count], 29] for count in (27, 11, 10))
    with torch.no_grad():
        features = [model.encode_texts(torch.tensor([ids])) for ids in (full, eleven, ten)]
    torch.testing.assert_close(features[0], features[1])
    assert (features[0] - features[2]).abs().max() > 1e-3


@pytest.mark.parametrize("depth", ["deep", "shallow"])
def test_vpt_gives_every_block_fresh_tokens_or_lets_the_first_ones_live_on(depth):
    model = adapted("vpt", {"tokens": 3, "depth": depth})
    n = hand.numbers(model)
    frames = frames_by_hand(n, n["new.vpt.vision"], stay=depth == "shallow")
    compare(model, frames, hand.text(n, TINY, IDS))


def test_vpt_starts_uniform_by_patch_and_width_or_normal():
    def start(init):
        clip = weights.random(TINY, 0)
        drawn = torch.Generator().manual_seed(0)
        model = methods.adapt(clip, "vpt", {"tokens": 500, "init": init}, frames=2, words=6, generator=drawn)
        return model.trainable()["new.vpt.vision"].detach()

    bound = (6 / (3 * 4 * 4 + 16)) ** 0.5
    uniform = start("uniform")
    assert bound * 0.99 < uniform.max() <= bound and -bound <= uniform.min() < -bound * 0.99
    assert abs(uniform.std() / (bound / 3**0.5) - 1) < 0.02
    assert abs(start("normal").std() / 0.02 - 1) < 0.02


def test_vpt_with_trained_text_trains_exactly_the_text_encoder_along():
    clip = weights.on_meta(geometry("vit-b-32"))
    setting = {"tokens": 20, "text": "trained"}
    model = methods.adapt(clip, "vpt", setting, frames=12, words=32, generator=torch.Generator())
    assert model.counts()["clip"] == 63_428_096
    assert {name.split(".")[1] for name in model.trainable() if name.startswith("clip.")} == {
        "text_model",
        "text_projection",
    }


@pytest.mark.parametrize("positions", ["used", "free"])
def test_vl_prompt_prompts_both_towers_independently(positions):
    model = adapted("vl_prompt", {"tokens": 4, "positions": positions})
    n = hand.numbers(model)
    text = text_by_hand(n, IDS, n["new.vl_prompt.text"], positions)
    compare(model, frames_by_hand(n, n["new.vl_prompt.vision"]), text)


def test_80_text_prompts_fit_because_they_take_no_positions():
    model = adapted("vl_prompt", {"tokens": 80})
    n = hand.numbers(model)
    with torch.no_grad():
        features = model.encode_texts(torch.tensor([IDS]))[0]
    np.testing.assert_allclose(features, text_by_hand(n, IDS, n["new.vl_prompt.text"], "free"), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("positions", ["used", "free"])
def test_maple_projects_its_vision_prompts_from_the_text_prompts_of_the_same_block(positions):
    model = adapted("maple", {"tokens": 2, "positions": positions})
    n = hand.numbers(model)
    projected = [
        [hand.linear(n, f"new.maple.to_vision.{i}", prompt) for prompt in prompts]
        for i, prompts in enumerate(n["new.maple.text"])
    ]
    compare(model, frames_by_hand(n, projected), text_by_hand(n, IDS, n["new.maple.text"], positions))


def test_frames_train_maples_text_prompts():
    model = adapted("maple", {"tokens": 2})
    model.encode_frames(pixels_of_two()[None]).square().sum().backward()
    assert all((model.trainable()["new.maple.text"].grad[i] != 0).any() for i in range(3))
    assert model.trainable()["new.maple.to_vision.2.weight"].grad.abs().max() > 0


def test_maple_in_a_deeper_vision_tower_couples_as_far_as_text_goes():
    deep = ClipConfig(
        Tower(16, 4, 2, 32), Tower(12, 2, 3, 24), image=8, patch=4, positions=12, vocab=30, eot=29, embed=6
    )
    model = adapted("maple", {"tokens": 2}, clip=deep)
    n = hand.numbers(model)
    tokens = [hand.pre(n, x) for x in hand.embed(n, deep, pixels_of_two()[0].double().numpy())]
    tokens[1:1] = [None, None]
    for i in range(4):
        if i < 2:
            fresh = [hand.linear(n, f"new.maple.to_vision.{i}", prompt) for prompt in n["new.maple.text"][i]]
            tokens[1:3] = [hand.pre(n, x) for x in fresh] if i == 0 else fresh
        tokens = hand.block(n, "vision", i, tokens, 2)
    with torch.no_grad():
        features = model.encode_frames(pixels_of_two()[None])[0, 0]
    np.testing.assert_allclose(features, hand.read_frame(n, tokens[0]), atol=1e-4, rtol=1e-4)


def test_prompts_of_two_methods_stand_side_by_side():
    """VPT and CoOp together are each other's missing tower; VPT beside VL-Prompt doubles the vision prompts."""
    model = adapted("coop+vpt", {"tokens": 2})
    n = hand.numbers(model)
    text = text_by_hand(n, IDS, n["new.coop.text"], "used", stay=True)
    compare(model, frames_by_hand(n, n["new.vpt.vision"]), text)
    model = adapted("vpt+vl_prompt", {"vpt.tokens": 2, "vl_prompt.tokens": 3})
    n = hand.numbers(model)
    both = np.concatenate([n["new.vl_prompt.vision"], n["new.vpt.vision"]], axis=1)
    compare(model, frames_by_hand(n, both), text_by_hand(n, IDS, n["new.vl_prompt.text"], "free"))


@pytest.mark.parametrize(
    ("method", "setting", "message"),
    [
        ("coop", {"tokens": 11}, "'tokens': 11 given, allowed: 1 to 10"),
        ("coop", {"tokens": 0, "positions": "free"}, "'tokens': 0 given, allowed: 1 or more"),
        ("vpt", {"tokens": 0}, "'vpt'.*allowed: 1 or more"),
        ("vl_prompt", {"tokens": 11, "positions": "used"}, "allowed: 1 to 10"),
        ("maple", {"tokens": 12}, "'maple'.*allowed: 1 to 10"),
        ("vpt", {"depth": "deeep"}, "did you mean 'deep'"),
    ],
)
def test_numbers_of_tokens_that_do_not_fit_are_refused(method, setting, message):
    with pytest.raises(PetvrError, match=message):
        methods.adapt(weights.random(TINY), method, setting, frames=2, words=6, generator=torch.Generator())


def test_every_row_with_prompts_builds_and_its_printed_size_is_met_or_explained():
    """All tables, and the cells that only figures and choices of a paper need; frames and words as the recipe says."""
    prompts = {"coop", "vpt", "vl_prompt", "maple", "vop", "vop_p", "vop_c", "vop_f"}
    rows = [row for row in params.table_lines() if row["verdict"] != "reported only"]
    cells = {
        repr(cell): cell
        for name in papers.NAMES
        for cell in [
            *(c for table in papers.load_paper(name).tables.values() for row in table.rows for c in row.cells.values()),
            *papers.load_paper(name).optional,
        ]
        if cell.method and prompts.intersection(cell.method.split("+"))
    }
    assert len(cells) > 80
    for cell in cells.values():
        recipe, _ = papers.load_paper(cell.paper).recipe(cell.dataset, cell.method, cell.setting, variant=cell.variant)
        found = params.counts(cell.backbone, cell.method, cell.setting, **recipe.model_choices(cell.train))
        assert found.by_part["new"] > 0, cell
    mine = [row for row in rows if any(word in row["row"] for word in ("VoP", "CoOp", "VPT", "Prompt", "MaPLe"))]
    assert len(mine) > 130
    odd = {(row["row"].split(" [")[0], row["printed"]) for row in mine if not row["verdict"].startswith("agrees")}
    assert odd == {
        ("VPT", "0.21"),
        ("VPT (text trainable)", "63.43"),
        ("VoP^P", "0.50"),
        ("VoP^C", "14.30"),
        ("VoP^F+C", "14.1"),
        ("VoP^F+C", "11.785"),
        ("VoP^F+C", "11.962"),
    }
    assert all(": " in row["verdict"] for row in mine if not row["verdict"].startswith("agrees"))


def test_maples_deeper_projections_start_as_copies_of_one_unless_drawn():
    start = adapted("maple", {"tokens": 2}, shake=0).trainable()
    weights = [start[f"new.maple.to_vision.{i}.weight"] for i in range(3)]
    assert torch.equal(weights[1], weights[2]) and not torch.equal(weights[0], weights[1])
    drawn = adapted("maple", {"tokens": 2, "projections": "drawn"}, shake=0).trainable()
    assert not torch.equal(*(drawn[f"new.maple.to_vision.{i}.weight"] for i in (1, 2)))
