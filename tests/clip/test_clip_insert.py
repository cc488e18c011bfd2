"""The insertion points: where they are, what they are given, and that a method may join frames into one sequence."""

import pytest
import torch
from torch.nn.functional import conv2d

from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower
from petvr.clip.insert import PER_BLOCK, PLACES, Inserts
from petvr.errors import PetvrError

torch.set_num_threads(1)
TINY = ClipConfig(Tower(32, 3, 4, 64), Tower(24, 2, 2, 48), image=16, patch=8, positions=12, vocab=50, eot=49, embed=16)
WIDE = {
    "vision": {
        "stream": (6, 5, 32),
        "embedded": (6, 4, 32),
        "hidden": (6, 5, 64),
        "pooled": (6, 32),
        "projected": (6, 16),
    },
    "text": {
        "stream": (2, 7, 24),
        "embedded": (2, 7, 24),
        "hidden": (2, 7, 48),
        "pooled": (2, 24),
        "projected": (2, 16),
    },
}


def data(frames=3):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, frames, 3, 16, 16, generator=generator)
    ids = torch.randint(1, 40, (2, 7), generator=generator)
    ids[0, 4], ids[1, 6] = 49, 49
    return pixels, ids


def shape(place, tower):
    named = {"embedded": "embedded", "mlp_hidden": "hidden", "pooled": "pooled", "projected": "projected"}
    return WIDE[tower][named.get(place, "stream")]


@pytest.mark.parametrize("tower", ["vision", "text"])
def test_every_place_is_reached_in_order_with_its_shape_and_what_was_read(tower):
    clip = weights.random(TINY, 0)
    pixels, ids = data()
    inserts, seen = Inserts(TINY), []

    def spy(place):
        def look(x, context):
            seen.append((place, context.layer))
            if place == "ids":
                assert torch.equal(x, ids)
            elif place == "qkv":
                assert [part.shape for part in x] == [torch.Size(shape(place, tower))] * 3
            else:
                assert x.shape == shape(place, tower)
            if place in ("qkv", "attn_out", "mlp_hidden", "mlp_out"):
                block = getattr(clip, f"{tower}_model").encoder.layers[context.layer]
                norm = block.layer_norm1 if place in ("qkv", "attn_out") else block.layer_norm2
                assert torch.equal(context.input, norm(context.residual))
            return x

        return look

    for place in (one for one in PLACES[tower] if one != "words"):
        inserts.add(tower, place, spy(place))
    with torch.no_grad():
        plain = clip.encode_frames(pixels) if tower == "vision" else clip.encode_texts(ids)
        spied = clip.encode_frames(pixels, None, inserts) if tower == "vision" else clip.encode_texts(ids, inserts)
    assert torch.equal(plain, spied)
    first = ["embedded", "tokens_in"] if tower == "vision" else ["ids", "embedded", "tokens_in"]
    blocks = [(place, i) for i in range(3 if tower == "vision" else 2) for place in PER_BLOCK]
    assert seen == [(place, None) for place in first] + blocks + [("pooled", None), ("projected", None)]


def test_the_last_function_behind_the_mlps_first_layer_alone_may_see_to_the_activation():
    clip, (pixels, _) = weights.random(TINY, 0), data()
    offered = []

    def doubles(x, context):
        offered.append(context.activation)
        return 2 * x

    def sees_to_it(x, context):
        act, context.activation = context.activation, None
        return act(2 * x)

    features = []
    for functions in ([doubles, doubles], [doubles, sees_to_it]):
        inserts = Inserts(TINY)
        for function in functions:
            inserts.add("vision", "mlp_hidden", function, [1])
        with torch.no_grad():
            features.append(clip.encode_frames(pixels, None, inserts))
    assert torch.equal(*features)
    assert offered == [None, clip.vision_model.encoder.layers[1].act, None]


@pytest.mark.parametrize("place", PLACES["vision"])
@pytest.mark.parametrize("tower", ["vision", "text"])
def test_what_a_function_returns_is_what_the_tower_goes_on_with(tower, place):
    clip = weights.random(TINY, 0)
    pixels, ids = data()
    inserts = Inserts(TINY)
    bump = torch.linspace(-1, 1, 64)
    add = lambda x: x + bump[: x.shape[-1]]  # noqa: E731
    inserts.add(tower, place, lambda x, context: tuple(map(add, x)) if place == "qkv" else add(x))
    with torch.no_grad():
        plain = clip.encode_frames(pixels) if tower == "vision" else clip.encode_texts(ids)
        moved = clip.encode_frames(pixels, None, inserts) if tower == "vision" else clip.encode_texts(ids, inserts)
    assert (plain - moved).abs().max() > 1e-4


def test_places_and_towers_that_do_not_exist_are_refused():
    with pytest.raises(PetvrError, match=r"vision tower: unknown place 'attn'.*; allowed: attn_in, "):
        Inserts(TINY).add("vision", "attn", lambda x, context: x)
    with pytest.raises(PetvrError, match="unknown tower 'audio'; allowed: both, text, vision"):
        Inserts(TINY).add("audio", "mid", lambda x, context: x)
    with pytest.raises(PetvrError, match="vision tower: unknown place 'ids'"):
        Inserts(TINY).add("both", "ids", lambda x, context: x)
    last = TINY.vision.layers - 1
    with pytest.raises(PetvrError, match=f"block {last + 9} given, allowed: 0 to {last}"):
        Inserts(TINY).add("both", "mid", lambda x, context: x, [0, last + 9])
    with pytest.raises(PetvrError, match="'pooled' stands outside the blocks"):
        Inserts(TINY).add("text", "pooled", lambda x, context: x, [0])


def test_functions_of_two_methods_act_one_after_the_other():
    clip = weights.random(TINY, 0)
    inserts = Inserts(TINY)
    inserts.add("text", "projected", lambda x, context: x + 1)
    inserts.add("text", "projected", lambda x, context: x * 2)
    ids = data()[1]
    with torch.no_grad():
        torch.testing.assert_close(clip.encode_texts(ids, inserts), (clip.encode_texts(ids) + 1) * 2)


def test_prompts_of_two_owners_stand_side_by_side_and_move_eot():
    from petvr.clip.insert import ForwardState

    state = ForwardState("text", Inserts(TINY), eot=torch.tensor([2, 3]))
    x = torch.arange(4.0).view(1, 4, 1).expand(2, 4, 1)
    one, two = torch.full((2, 1), 10.0), torch.full((1, 1), 20.0)
    x = state.insert_prompts("one", x, one)
    x = state.insert_prompts("two", x, two)
    assert x[0, :, 0].tolist() == [0, 20, 10, 10, 1, 2, 3]
    assert state.eot.tolist() == [5, 6] and state.num_leading_tokens == 4
    x = state.insert_prompts("one", x, one + 1)
    assert x[0, :, 0].tolist() == [0, 20, 11, 11, 1, 2, 3]
    x = state.insert_prompts("two", x, x[:, :0])
    assert x[0, :, 0].tolist() == [0, 11, 11, 1, 2, 3] and state.num_leading_tokens == 3
    x = state.insert_prompts("one", x, x[:, :0])
    assert x[0, :, 0].tolist() == [0, 1, 2, 3] and state.eot.tolist() == [2, 3]


def test_frames_can_be_joined_into_one_sequence_from_a_block_on():
    """All frames' CLS in front, then all patches; keys of masked frames hidden. Reference: that sequence by hand."""
    clip = weights.random(TINY, 0)
    pixels, _ = data()
    mask = torch.tensor([[True, True, False], [True, True, True]])
    inserts = Inserts(TINY)
    inserts.temporal = True

    inserts.add("vision", "block_in", lambda x, context: context.state.join_frames(x), [1])
    with torch.no_grad():
        joined = clip.encode_frames(pixels, mask, inserts)
        for video, count in ((0, 2), (1, 3)):  # by hand: only the real frames, one video at a time
            tower = clip.vision_model
            kernel = tower.embeddings.patch_embedding.weight
            embedded = conv2d(pixels[video, :count], kernel, stride=8).flatten(2).transpose(1, 2)
            cls = tower.embeddings.class_embedding.expand(count, 1, -1)
            x = torch.cat([cls, embedded], 1) + tower.embeddings.position_embedding.weight
            x = tower.pre_layrnorm(x)
            for number, block in enumerate(tower.encoder.layers):
                if number == 1:
                    x = torch.cat([x[:, 0], x[:, 1:].flatten(0, 1)])[None]
                h = block.layer_norm1(x)
                heads = []
                for head in range(4):
                    part = slice(head * 8, head * 8 + 8)
                    q, k, v = (getattr(block.self_attn, f"{n}_proj")(h)[..., part] for n in "qkv")
                    heads.append(torch.softmax(q @ k.transpose(-1, -2) / 8**0.5, -1) @ v)
                x = x + block.self_attn.out_proj(torch.cat(heads, -1))
                h = block.mlp.fc1(block.layer_norm2(x))
                x = x + block.mlp.fc2(h * torch.sigmoid(1.702 * h))
            by_hand = clip.visual_projection(tower.post_layernorm(x[0, :count]))
            torch.testing.assert_close(joined[video, :count], by_hand, atol=1e-5, rtol=0)
        assert not joined[0, 2].any()


def test_prompts_are_joined_owner_by_owner_and_replaced_once_for_the_whole_video():
    from petvr.clip.insert import ForwardState

    mask = torch.tensor([[True, True], [True, False]])
    state = ForwardState("vision", Inserts(TINY), videos=2, frames=2, mask=mask)
    x = torch.tensor([[0.0, 7, 8], [100, 107, 108], [200, 207, 208], [300, 307, 308]])[..., None]
    x = state.insert_prompts("one", x, torch.tensor([[1.0]]))
    x = state.insert_prompts("two", x, torch.tensor([[[2.0], [3]], [[102], [103]], [[202], [203]], [[302], [303]]]))
    x = state.join_frames(x)
    assert x[1, :, 0].tolist() == [200, 300, 202, 203, 302, 303, 1, 1, 207, 208, 307, 308]
    assert state.key_mask[0].all() and state.key_mask[1].int().tolist() == [1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0]
    assert state.num_leading_tokens == 8
    x = state.insert_prompts("two", x, torch.tensor([[9.0]]))
    assert x[1, :, 0].tolist() == [200, 300, 9, 1, 1, 207, 208, 307, 308]
    assert state.key_mask[1].int().tolist() == [1, 0, 1, 1, 0, 1, 1, 0, 0]
    x = state.insert_prompts("one", x, x[:, :0])
    assert (
        x[0, :, 0].tolist() == [0, 100, 9, 7, 8, 107, 108]
        and state.key_mask.shape == (2, 7)
        and state.num_leading_tokens == 3
    )
