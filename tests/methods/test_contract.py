"""What every method promises, with every kind of setting, in both towers. A new method must add its line to CASES."""

import re
from dataclasses import dataclass, field
from functools import cache

import pytest
import torch

from petvr import methods, papers
from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower, geometry, with_layers
from petvr.clip.towers import Attention
from petvr.clip.weights import SkipMetaInit
from petvr.errors import PetvrError
from petvr.spec import method_id

torch.set_num_threads(1)
TINY = ClipConfig(Tower(32, 3, 4, 64), Tower(24, 3, 2, 48), image=16, patch=8, positions=24, vocab=60, eot=59, embed=16)
WORDS, FRAMES = 12, 4
TOWERS = "vision", "text"
NEAR = 1e-2  # relative change of the features that still counts as near identity


@dataclass(frozen=True)
class Case:
    method: str
    setting: dict = field(default_factory=dict)
    count: int = 0  # trainable numbers with ViT-B/32
    tiny: dict = field(default_factory=dict)  # where a setting has to be smaller for the tiny CLIP
    idle: str = ""  # trainable parts of this name stand where the features no longer hear of them (tiny CLIP)

    def __str__(self):
        return "@".join([self.method, *(f"{key}={value}" for key, value in self.setting.items())])


SMALL = {"r": 4, "ds": 6}
ST_LAST = "vision_mid.2."  # changes patches behind the last attention
CASES = [
    Case("zero_shot", count=0),
    Case("seq_transf", count=0),  # these train the similarity of their name: tests/similarity
    Case("x_pool", count=0),
    Case("x_clip", count=0),
    Case("hunyuan", count=0),
    Case("clip2video", count=123_540_993),
    Case("ts2_net", count=123_540_993),
    Case("ju", count=39_424, tiny={"prefix": 4, "postfix": 3}),
    Case("ju", {"prefix": 4, "postfix": 0}, 39_424),
    Case("x_pool+vop", {"tokens": 8}, 122_880),
    Case("x_clip+full", {"freeze": 0}, 123_540_993),
    Case("full", count=123_540_993),
    Case("full", {"freeze": 6}, 62_099_457, {"freeze": 1}),
    Case("full", {"freeze": 9}, 31_378_689, {"freeze": 2}),
    Case("full", {"freeze": 11}, 10_898_177, {"freeze": 2}),
    Case("full", {"freeze": 12}, 657_921, {"freeze": 3}),
    Case("full", {"rule": "everything"}, 151_277_313),
    Case("x_pool+full", count=123_540_993),
    Case("x_pool+full", {"rule": "everything"}, 151_277_313),
    Case("bias", count=171_008),
    Case("proj", count=655_360),
    Case("partial", count=10_240_256),
    Case("partial", {"blocks": 2}, 20_480_512),
    Case("adapter_attn", count=1_982_976),
    Case("adapter_attn", {"reads": "stream", "scale": 4.0}, 1_982_976),
    Case("adapter_ffn", count=1_982_976),
    Case("adapter_ffn", {"reads": "normed", "width": 8}, 261_312),
    Case("vop", count=122_880),
    Case("vop", {"tokens": 4}, 61_440),
    Case("vop", {"readout": "released"}, 122_880),
    Case("vop_p", count=528_384),
    Case("vop_p", {"specific": 8, "readout": "released"}, 933_888),
    Case("vop_c", count=14_257_152),
    Case("vop_c", {"tokens": 4, "specific": 4}, 14_195_712),
    Case("vop_f", count=132_096, tiny={"shallow": 2}),
    Case("vop_f", {"shallow": 0, "readout": "released"}, 132_096),
    Case("vop_f", {"shallow": 12}, 122_880, {"shallow": 3}),
    Case("vop_f+vop_p", count=402_432, tiny={"shallow": 2}),
    Case("vop_f+vop_c", count=14_278_656, tiny={"shallow": 1}),
    Case("coop", {"tokens": 4}, 2_048),
    Case("coop", {"tokens": 16}, 8_192),
    Case("coop", {"tokens": 32}, 16_384, {"tokens": 8}),
    Case("coop", {"tokens": 64}, 32_768, {"tokens": 9}),
    Case("coop", {"tokens": 64, "positions": "free"}, 32_768),
    Case("vpt", {"tokens": 5}, 46_080),
    Case("vpt", {"tokens": 20}, 184_320),
    Case("vpt", {"tokens": 20, "text": "trained"}, 63_612_416),
    Case("vpt", {"tokens": 40}, 368_640),
    Case("vpt", {"tokens": 80}, 737_280),
    Case("vpt", {"tokens": 5, "depth": "shallow", "init": "normal"}, 3_840),
    Case("vl_prompt", {"tokens": 5}, 76_800),
    Case("vl_prompt", {"tokens": 20}, 307_200),
    Case("vl_prompt", {"tokens": 40}, 614_400),
    Case("vl_prompt", {"tokens": 80}, 1_228_800),
    Case("vl_prompt", {"tokens": 5, "positions": "used"}, 76_800),
    Case("maple", {"tokens": 5}, 4_758_528),
    Case("maple", {"tokens": 20}, 4_850_688, {"tokens": 7}),
    Case("maple", {"tokens": 40}, 4_973_568, {"tokens": 8}),
    Case("maple", {"tokens": 40, "positions": "free"}, 4_973_568),
    Case("cross_modal_adapter", count=519_168, tiny=SMALL),
    Case("cross_modal_adapter", {"r": 8, "ds": 8}, 520_896, SMALL),
    Case("cross_modal_adapter", {"r": 16, "ds": 16}, 1_008_000, SMALL),
    Case("cross_modal_adapter", {"r": 16, "ds": 64}, 988_416, SMALL),
    Case("cross_modal_adapter", {"r": 16, "ds": 512}, 805_632, {"r": 4, "ds": 24}),
    Case("cross_modal_adapter", {"r": 2, "ds": 16}, 152_544, {"ds": 6}),
    Case("cross_modal_adapter", {"r": 4, "ds": 16}, 274_752, {"ds": 6}),
    Case("cross_modal_adapter", {"r": 32, "ds": 16}, 1_985_664, {"ds": 6}),
    Case("cross_modal_adapter", {"r": 64, "ds": 16}, 3_940_992, {"ds": 6}),
    Case("cross_modal_adapter", {"r": 8, "ds": 4}, 521_760),
    Case("cross_modal_adapter", {"r": 8, "ds": 32}, 515_712, {"ds": 12}),
    Case("cross_modal_adapter", {"r": 8, "ds": 64}, 508_800, {"ds": 23}),
    Case("cross_modal_adapter", {"r": 8, "share": False}, 522_624, {"r": 4}),
    Case("cross_modal_adapter", {"r": 16, "share": False}, 1_014_528, {"r": 4}),
    Case("ssf", count=343_552),
    Case("ssf", {"sites": "blocks"}, 337_920),
    Case("lora", {"rank": 8}, 491_520),
    Case("lora", {"targets": "q_v", "scale": 0.5}, 491_520),
    Case("lora", {"rank": 4, "targets": "q_k_v_o"}, 491_520),
    Case("st_adapter", count=14_220_288, idle=ST_LAST),
    Case("st_adapter", {"text": "trained"}, 77_648_384, idle=ST_LAST),
    Case("st_adapter", {"per_block": 1, "text": "adaptformer", "biases": True}, 8_873_984),
    Case("adaptformer", {"video": "parallel"}, 4_152_320),
    Case("adaptformer", {"video": "sequential"}, 4_152_320),
    Case("adaptformer", {"video": "none", "text": "parallel", "norm": False, "biases": False}, 1_580_544),
    Case("convpass", {"text": "adaptformer"}, 4_195_328),
    Case("convpass", {"conv": "full", "text": "frozen", "norm": False, "width": 8, "biases": False}, 327_552),
    Case("cm_adapter", {"ds": 16}, 4_127_552),
    Case("cm_adapter", {"ds": 8}, 4_139_936),
    Case("cm_adapter", {"ds": 512}, 3_359_744, {"ds": 24}),
    Case("mv_adapter", count=3_572_736),
    Case("mv_adapter", {"cmt_layers": 1}, 3_530_464),
    Case("mv_adapter", {"cmt_layers": 3}, 3_615_008),
    Case("mv_adapter", {"cmt_layers": 6}, 3_741_824, {"cmt_layers": 3}),
    Case("mv_adapter", {"cmt_layers": 12}, 3_995_456, {"cmt_layers": 3}),
    Case("mv_adapter", {"cmt_dim": 8}, 3_511_248),
    Case("mv_adapter", {"cmt_dim": 16}, 3_531_744),
    Case("mv_adapter", {"cmt_dim": 64}, 3_654_720),
    Case("mv_adapter", {"cmt": "down_out"}, 3_496_704),
    Case("mv_adapter", {"cmt": "up_in"}, 3_496_704),
    Case("mv_adapter", {"cmt": "up_out"}, 3_572_736),
    Case("mv_adapter", {"cmt": "none"}, 3_488_192),
    Case("mv_adapter", {"cmt": "none", "ta": "none"}, 2_779_904),
    Case("mv_adapter", {"cmt": "none", "ta": "trm"}, 3_401_216),
    Case("mv_adapter", {"ta": "none"}, 2_864_448),
    Case("mv_adapter", {"ta": "none", "cmt_layers": 1}, 2_822_176),
    Case("mv_adapter", {"ta": "none", "cmt_layers": 3}, 2_906_720),
    Case("mv_adapter", {"branch": "text", "cmt": "none"}, 1_590_272),
    Case("mv_adapter", {"branch": "video", "cmt": "none"}, 2_068_928),
    Case("mv_adapter", {"width": 128}, 9_405_888),
    Case("mv_adapter", {"calibration": "formula", "cmt_bias": False}, 3_520_256),
    Case("mv_adapter", {"norm_in": True, "text_block": False}, 2_977_536),
    Case("vop+st_adapter", {"tokens": 4}, 14_281_728, idle=ST_LAST),
    Case("vop+mv_adapter", {"tokens": 4}, 3_634_176),
    Case("vop+convpass", {"tokens": 4}, 4_256_768),
    Case("lora+ssf", {}, 835_072),
    Case("bias+cross_modal_adapter", {"r": 8}, 690_176, SMALL),
    Case("vop+adapter_ffn", {"tokens": 8}, 2_105_856, {"tokens": 3}),
    Case("vop+partial", {}, 10_363_136),
    Case("lorm", count=763_672),
    Case("lorm", {"r": 1}, 345_352),
    Case("lorm", {"axes": "space_time"}, 1_024_672),
    Case("lorm", {"axes": "space_time_layer"}, 623_200),
    Case("asa", count=296_088),
    Case("asa", {"offsets": "equation", "proj": "plain", "k": 2}, 61),
    Case("ssf+asa", {}, 639_640),
    Case("rap", count=1_059_760),
    Case("rap", {"last": 4}, 353_936, {"last": 2}),
    Case("rap", {"r": 1}, 641_440),
    Case("rap", {"r": 5}, 1_478_080),
    Case("rap", {"r": 7}, 1_896_400),
    Case("rap", {"r": 9}, 2_314_720),
    Case("rap", {"k": 1}, 1_059_760),
    Case("rap", {"k": 5}, 1_059_760, {"k": 4}),
    Case("rap", {"k": 7}, 1_059_760, {"k": 2}),
    Case("rap", {"k": 9}, 1_059_760, {"k": 1}),
    Case("rap", {"select": "text_bottom"}, 1_059_760),
    Case("rap", {"select": "vision_top"}, 1_059_760),
    Case("rap", {"select": "vision_bottom"}, 1_059_760),
    Case("rap", {"select": "random"}, 1_059_760),
    Case("rap", {"select": "none"}, 1_059_760),
    Case("rap", {"warp": "space"}, 1_059_364),
    Case("rap", {"warp": "time"}, 1_059_364),
    Case("rap", {"text_rank": 3}, 1_479_088),
    Case("rap", {"factorised": False}, 2_920_600),
    Case("x_clip+lorm", {}, 763_672),
    Case("x_clip+lorm+asa", {}, 1_059_760),
]


def kind(case):
    """What decides which code runs: the method, and of its settings all but how many or how wide."""
    which = {
        key: str(value) if isinstance(value, str | bool) or not value else "" for key, value in case.setting.items()
    }
    return case.method, *sorted(which.items())


KINDS = list({kind(case): case for case in reversed(CASES)}.values())[::-1]  # the first of each
each = pytest.mark.parametrize("case", CASES, ids=str)
each_kind = pytest.mark.parametrize("case", KINDS, ids=str)
GEOMETRIES = {"tiny": TINY, "two blocks": with_layers(TINY, 2), "vit-b-32": with_layers(geometry("vit-b-32"), 2)}


@cache
def base(name="tiny"):
    """Weights are drawn once; biases and LayerNorms are moved off zero and one so that nothing cancels."""
    clip = weights.random(GEOMETRIES[name], 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, parameter in clip.named_parameters():
            if key.endswith("bias") or "norm" in key:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return clip.state_dict()


def plain(name="tiny"):
    """CLIP; the large one's tensors are the same in every model until something trains them."""
    clip = weights.on_meta(GEOMETRIES[name])
    state = base(name)
    clip.load_state_dict(
        {key: value.clone() for key, value in state.items()} if name != "vit-b-32" else state, assign=True
    )
    return clip


def fitted(case, name):
    """The case's setting for a CLIP of GEOMETRIES: no more blocks and channels than it has."""
    setting = dict(case.setting) if name == "vit-b-32" else {**case.setting, **case.tiny}
    blocks = GEOMETRIES[name].vision.layers
    for key in ("freeze", "cmt_layers", "last"):
        if key in setting:
            setting[key] = min(setting[key], blocks)
    if name != "tiny" and "vop_f" in case.method.split("+"):
        setting["shallow"] = min(setting.get("shallow", 1), blocks)
    return setting


def made(case, seed=0, name="tiny"):
    generator = torch.Generator().manual_seed(seed)
    model = methods.adapt(plain(name), case.method, fitted(case, name), frames=FRAMES, words=WORDS, generator=generator)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.clone()
    for part in model.modules():
        if isinstance(part, Attention):
            part.pack()  # as in a run
    return model.eval()  # what is drawn anew in every step of training stands still


def batch(config=TINY, frames=FRAMES):
    """Two videos, one with frames missing; three texts, one as long as words allows."""
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randn(2, frames, 3, config.image, config.image, generator=generator)
    mask = torch.ones(2, frames, dtype=torch.bool)
    mask[1, 2:] = False
    ids = torch.randint(1, 40, (3, WORDS), generator=generator)
    for row, length in enumerate((4, 9, WORDS)):
        ids[row, 0], ids[row, length - 1], ids[row, length:] = config.eot - 1, config.eot, 0
    return pixels, mask, ids


def watch(model, pixels, mask):
    """Frames next to the same six candidate sentences in every call, for the methods that look at some."""
    texts = torch.randn(6, model.embed_dim, generator=torch.Generator().manual_seed(3))
    return model.encode_frames(pixels, mask, texts=texts)


def encode(model, tower, data=None):
    pixels, mask, ids = data or batch(model.clip.config if hasattr(model, "clip") else model.config)
    return watch(model, pixels, mask) if tower == "vision" else model.encode_texts(ids)


def shaken(model, seed=5):
    """As after training: nothing that starts at zero stays there."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def identity(method, tower):
    declared = methods.declared(method).identity
    return declared if isinstance(declared, str) else declared[tower]


def test_every_method_is_under_contract():
    covered = {part for case in CASES for part in case.method.split("+")}
    assert covered == set(methods.available())


def test_every_setting_of_every_table_and_figure_is_under_contract():
    """Also those written out although they are the defaults, and those that only figures need."""
    here = {complete(case.method, case.setting) for case in CASES}
    asked = {}
    for paper in map(papers.load_paper, papers.NAMES):
        cells = [cell for table in paper.tables.values() for row in table.rows for cell in row.cells.values()]
        for cell in [*cells, *paper.optional]:
            if cell.method:
                asked[complete(cell.method, cell.setting)] = method_id(cell.method, cell.setting)
    assert len(asked) > 80
    assert [id for key, id in asked.items() if key not in here] == []


def complete(method, setting):
    parts = methods.settings(method, setting)
    return frozenset((part, key, value) for part, values in parts.items() for key, value in values.items()) | {method}


@each
def test_count_with_vit_b_32_is_the_stated_one(case):
    with SkipMetaInit():
        clip = weights.on_meta(geometry("vit-b-32"))
        model = methods.adapt(clip, case.method, case.setting, frames=12, words=32, generator=torch.Generator())
    counts = model.counts()
    assert counts["clip"] + counts["new"] == case.count
    assert counts["total"] == 151_277_313 + counts["new"]


@each
def test_before_training_it_is_the_identity_it_declares(case):
    clip, model = plain(), made(case)
    for tower in TOWERS:
        declared = {identity(part, tower) for part in case.method.split("+")}
        with torch.no_grad():
            before, after = encode(clip, tower), encode(model, tower)
        change = ((after - before).norm() / before.norm()).item()
        if declared == {"exact"}:
            assert torch.equal(before, after), tower
        elif "none" in declared:
            assert change > NEAR, tower
        else:
            assert 0 < change < NEAR, tower


@each
def test_gradients_reach_exactly_the_declared_parameters(case):
    model = shaken(made(case))
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert names == set(model.trainable())
    assert all(model.part(name) == ("clip" if name.startswith("clip.") else "new") for name in names)
    frames, texts = encode(model, "vision"), encode(model, "text")
    assert (frames.requires_grad or texts.requires_grad) == bool(names)
    if names:
        (model.logit_scale.exp() * (texts @ frames.mean(dim=1).T)).square().sum().backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == names
    for name, parameter in model.trainable().items():
        # a constant added to all keys moves no softmax, so their bias has the gradient zero
        if not name.endswith("k_proj.bias"):
            heard = not (case.idle and case.idle in name)
            assert (parameter.grad.abs().max() > 0) == heard, name


@each_kind
def test_blocks_computed_again_for_their_gradients_change_not_a_bit_of_them(case):
    gradients = []
    for again in (False, True):
        model = shaken(made(case)).train()
        if not model.trainable():
            pytest.skip("nothing trains")
        for tower in (model.clip.vision_model, model.clip.text_model):
            tower.encoder.recompute = again
        torch.manual_seed(4)
        (encode(model, "text") @ encode(model, "vision").mean(dim=1).T).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.trainable().values()])
    for one, other in zip(*gradients, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)


@each
def test_new_parts_train_and_the_frozen_parts_stay_after_a_step(case):
    model = made(case)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    if not model.trainable():
        pytest.skip("nothing trains")
    step = torch.optim.SGD(model.trainable().values(), lr=0.1)
    (encode(model, "text") @ encode(model, "vision").mean(dim=1).T).square().sum().backward()
    step.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved and moved <= set(model.trainable())


@each
def test_saving_and_loading_the_trainable_part_alone_restores_the_outputs(case, tmp_path):
    trained = shaken(made(case))
    trained.save(tmp_path / "adapter.safetensors")
    fresh = made(case, seed=9)
    fresh.load(tmp_path / "adapter.safetensors")
    from safetensors.torch import load_file

    assert set(load_file(tmp_path / "adapter.safetensors")) == set(trained.trainable())
    with torch.no_grad():
        for tower in ("vision", "text"):
            assert torch.equal(encode(fresh, tower), encode(trained, tower))


@each
def test_masked_frames_change_nothing(case):
    model = shaken(made(case))
    pixels, mask, _ = batch()
    with torch.no_grad():
        expected = watch(model, pixels, mask)
        noise = pixels.clone()
        noise[~mask] = 100.0
        torch.testing.assert_close(watch(model, noise, mask), expected, atol=1e-5, rtol=0)
        model.clip.skip_masked = False
        torch.testing.assert_close(watch(model, noise, mask), expected, atol=1e-5, rtol=0)
        alone = watch(model, pixels[1:, :2], mask[1:, :2])
        torch.testing.assert_close(alone[0], expected[1, :2], atol=1e-5, rtol=0)
        assert not expected[~mask].any()


@each
def test_the_frozen_beginning_of_the_vision_tower_is_clips_own(case):
    """What `frozen_blocks` blocks give needs nothing of the method, and the method goes on from there."""
    model, (pixels, mask, _) = shaken(made(case)), batch()
    blocks, depth = model.frozen_blocks("vision"), TINY.vision.layers
    texts = torch.randn(6, model.embed_dim, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = watch(model, pixels, mask)
        if blocks > depth:
            torch.testing.assert_close(plain().encode_frames(pixels, mask), expected, atol=1e-6, rtol=0)
        elif blocks >= 0:
            begun = plain().encode_prefix(pixels, mask, blocks)
            resumed = model.encode_frames(begun, mask, texts=texts, start_block=blocks)
            torch.testing.assert_close(resumed, expected, atol=1e-6, rtol=0)
        if 0 <= blocks < depth:  # not one block more is CLIP's own, as far as a change is heard of at all
            begun = plain().encode_prefix(pixels, mask, blocks + 1)
            further = model.encode_frames(begun, mask, texts=texts, start_block=blocks + 1)
            assert case.idle or not torch.allclose(further, expected, atol=1e-6, rtol=0)


@each
def test_padded_words_change_nothing(case):
    model = shaken(made(case))
    _, _, ids = batch()
    with torch.no_grad():
        expected = model.encode_texts(ids)
        longer = torch.nn.functional.pad(ids, (0, 5))
        eot = torch.where((ids == TINY.eot).cumsum(1) > 0, torch.full_like(ids, TINY.eot), ids)
        for same in (longer, eot):
            torch.testing.assert_close(model.encode_texts(same), expected, atol=1e-5, rtol=0)
        for row, length in enumerate((4, 9, WORDS)):
            torch.testing.assert_close(
                model.encode_texts(ids[row : row + 1, :length])[0], expected[row], atol=1e-5, rtol=0
            )
        assert model.encode_words(ids).shape[0] == 3


@each
def test_one_seed_gives_one_model_and_another_seed_another(case):
    one, again, other = made(case, 0), made(case, 0), made(case, 1)
    same = [torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True)]
    assert all(same)
    bare = {
        "zero_shot",
        "full",
        "bias",
        "proj",
        "partial",
        "seq_transf",
        "x_pool",
        "x_clip",
        "ts2_net",
        "clip2video",
        "hunyuan",
    }
    if set(case.method.split("+")) <= bare:
        assert not one.new
    else:
        equal = all(torch.equal(a, b) for a, b in zip(one.new.parameters(), other.new.parameters(), strict=True))
        assert not equal or not any(part.any() for part in one.new.parameters())  # zero is drawn by nobody


@each
def test_drawing_new_parts_leaves_the_global_generator_alone(case):
    torch.manual_seed(3)
    expected = torch.rand(1)
    clip = plain()
    torch.manual_seed(3)
    setting = {**case.setting, **case.tiny}
    methods.adapt(clip, case.method, setting, frames=4, words=12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.rand(1), expected)


@each_kind
def test_real_geometry_with_two_blocks_runs_forward_and_backward(case):
    if "partial" in case.method or "everything" in case.setting.values():
        pytest.skip("covered by the tiny CLIP, and large")
    model, data = made(case, name="vit-b-32"), one_video()
    for tower in TOWERS:
        declared = {identity(part, tower) for part in case.method.split("+")}
        with torch.no_grad():
            fresh = encode(model, tower, data)
        if "none" not in declared:
            assert torch.equal(fresh, untouched(tower)) == (declared == {"exact"}), tower
            torch.testing.assert_close(fresh, untouched(tower), atol=0.05, rtol=0.05)
    shaken(model)
    for tower in TOWERS:
        out = encode(model, tower, data)
        assert out.shape == ((1, 1, 512) if tower == "vision" else (3, 512)) and out.isfinite().all(), tower
        if out.requires_grad:
            model.zero_grad(set_to_none=True)
            out.square().mean().backward()
            reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
            assert reached and reached <= set(model.trainable()), tower


def one_video():
    pixels, mask, ids = batch(GEOMETRIES["vit-b-32"], frames=1)
    return pixels[:1], mask[:1], ids


@cache
def untouched(tower):
    with torch.no_grad():
        return encode(plain("vit-b-32"), tower, one_video())


@pytest.mark.parametrize("method", methods.available())
def test_unknown_settings_wrong_types_and_negative_numbers_are_refused(method):
    defaults = methods.defaults(method)
    with pytest.raises(PetvrError, match="unknown setting 'nonsense'"):
        methods.adapt(plain(), method, {"nonsense": 1}, frames=4, words=12, generator=torch.Generator())
    for key, value in defaults.items():
        with pytest.raises(PetvrError, match=f"setting '{key}'"):
            methods.settings(method, {key: [value]})
        if isinstance(value, int | float) and not isinstance(value, bool):
            allowed = methods.declared(method).settings[key].allowed({})
            with pytest.raises(PetvrError, match=re.escape(f"allowed: {allowed}")):
                methods.settings(method, {key: -1})
        if isinstance(value, str):
            with pytest.raises(PetvrError, match="allowed:"):
                methods.settings(method, {key: value[:-1]})
        assert methods.settings(method, {key: value})[method] == defaults
    assert methods.version(method) >= 1
