"""Each method's features recomputed from its paper's formula in numpy, token by token (clip_by_hand)."""

import clip_by_hand as hand
import numpy as np
import pytest
import torch

from petvr import methods
from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower
from petvr.errors import PetvrError

torch.set_num_threads(1)
TINY = ClipConfig(Tower(16, 2, 2, 32), Tower(12, 2, 3, 24), image=8, patch=4, positions=12, vocab=30, eot=29, embed=6)
IDS = [28, 5, 9, 3, 29]


def trained(method, setting):
    """Far from initialisation: everything that trains, and every LayerNorm and bias of CLIP, has moved."""
    generator = torch.Generator().manual_seed(0)
    model = methods.adapt(weights.random(TINY, 1), method, setting, frames=2, words=6, generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def check(model, ids=IDS, prompts=None, changes=None, text=None):
    """`changes`(tower) -> functions for clip_by_hand; `prompts`(tower) -> [L, n, D]."""
    n = hand.numbers(model)
    pixels = torch.randn(1, 2, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    given = {tower: (changes(n, tower) if changes else {}) for tower in ("vision", "text")}
    extra = {tower: (prompts(n, tower) if prompts else None) for tower in ("vision", "text")}
    with torch.no_grad():
        frames, texts = model.encode_frames(pixels), model.encode_texts(torch.tensor([ids]))
    for frame in range(2):
        expected = hand.vision(n, TINY, pixels[0, frame].double().numpy(), extra["vision"], **given["vision"])
        np.testing.assert_allclose(frames[0, frame].numpy(), expected, atol=1e-4, rtol=1e-4)
    expected = text(n) if text else hand.text(n, TINY, ids, extra["text"], **given["text"])
    np.testing.assert_allclose(texts[0].numpy(), expected, atol=1e-4, rtol=1e-4)


def test_clip_itself():
    check(trained("zero_shot", {}))


@pytest.mark.parametrize("method", ["adapter_attn", "adapter_ffn"])
@pytest.mark.parametrize("reads", ["normed", "stream"])
def test_parallel_adapters_add_s_relu_down_up(method, reads):
    def changes(n, tower):
        def beside(i, out, h, x):
            source = h if reads == "normed" else x
            down, up = (f"new.{method}.{tower}.{i}.{part}" for part in ("down", "up"))
            return out + 0.7 * hand.linear(n, up, np.maximum(hand.linear(n, down, source), 0))

        return {"after_attn" if method == "adapter_attn" else "after_mlp": beside}

    check(trained(method, {"width": 5, "scale": 0.7, "reads": reads}), changes=changes)


@pytest.mark.parametrize(("share", "ds"), [(True, 4), (True, 12), (False, 4)])
def test_cross_modal_adapter_concatenates_own_channels_and_shared_ones(share, ds):
    def changes(n, tower):
        def adapter(place):
            def behind(i, h, *_):
                own = f"new.cross_modal_adapter.{tower}_{place}.{i}"
                z = hand.quick_gelu(n[f"{own}.down"].T @ h + n[f"{own}.down_bias"])
                parts = []
                if f"{own}.unique" in n:
                    parts.append(n[f"{own}.unique"].T @ z + n[f"{own}.unique_bias"])
                if share:
                    both = f"new.cross_modal_adapter.shared_{place}.{i}"
                    parts.append(n[f"{both}.weight"].T @ z + n[f"{both}.bias"])
                return h + np.concatenate(parts)

            return behind

        return {"after_attn": adapter("attn_out"), "after_mlp": adapter("mlp_out")}

    model = trained("cross_modal_adapter", {"r": 3, "ds": ds, "share": share})
    assert ("new.cross_modal_adapter.text_mlp_out.0.unique" in dict(model.named_parameters())) == (not share or ds < 12)
    check(model, changes=changes)


def test_cross_modal_adapters_sharing_ties_the_towers():
    """A step on texts alone moves the frames' features through the shared matrices, and only with sharing."""
    for share in (True, False):
        model = trained("cross_modal_adapter", {"r": 3, "ds": 4, "share": share})
        pixels = torch.randn(1, 1, 3, 8, 8)
        with torch.no_grad():
            before = model.encode_frames(pixels)
        model.encode_texts(torch.tensor([IDS])).square().sum().backward()
        with torch.no_grad():
            for parameter in model.trainable().values():
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=0.1)
            assert torch.equal(before, model.encode_frames(pixels)) != share


def test_vop_puts_fresh_prompts_behind_cls_and_sot_in_every_block():
    check(trained("vop", {"tokens": 3}), prompts=lambda n, tower: n[f"new.vop.{tower}"])


def test_vop_cuts_texts_that_leave_no_position_for_prompts():
    long = [28, 5, 9, 3, 7, 8, 6, 4, 2, 29]
    kept = [*long[:7], 29]  # 12 positions, 4 of them prompts
    n_prompts = lambda n, tower: n[f"new.vop.{tower}"]  # noqa: E731
    model = trained("vop", {"tokens": 4})
    with torch.no_grad():
        cut, short = (model.encode_texts(torch.tensor([ids])) for ids in (long, kept))
    torch.testing.assert_close(cut, short)
    check(model, ids=kept, prompts=n_prompts)


@pytest.mark.parametrize("ids", [IDS, [28, 5, 9, 3, 7, 8, 6, 29]], ids=["short", "full length"])
def test_vop_released_reads_four_positions_behind_eot(ids):
    """12 positions, 4 prompts: 8 are left; two prompts behind SOT, two before the last position, read at EOT + 4."""
    model = trained("vop", {"tokens": 4, "readout": "released"})

    def text(n):
        words, position = (n[f"clip.text_model.embeddings.{k}_embedding.weight"] for k in ("token", "position"))
        padded = [*ids, *[0] * (8 - len(ids))]
        tokens = [words[number] for number in padded]
        for i, p in enumerate(n["new.vop.text"]):
            tokens = [tokens[0], p[0], p[1], *tokens[1:-1], p[2], p[3], tokens[-1]]
            if i == 0:
                tokens = [x + position[at] for at, x in enumerate(tokens)]
            tokens = hand.block(n, "text", i, tokens, TINY.text.heads)
            everything, tokens = tokens, [tokens[0], *tokens[3:-3], tokens[-1]]
        return hand.read(n, everything[ids.index(29) + 4])

    check(model, ids=ids, prompts=lambda n, tower: n["new.vop.vision"] if tower == "vision" else None, text=text)
    model.encode_texts(torch.tensor([ids])).square().sum().backward()
    later = model.trainable()["new.vop.text"].grad[:, 2:].abs().max()
    assert (later == 0) == (len(ids) < 8)  # the trap the docstring tells of


def test_methods_compose_as_if_each_were_alone_in_its_place():
    """VoP's prompts and the parallel adapter together: the adapter also acts on the prompts."""

    def changes(n, tower):
        def beside(i, out, h, x):
            down, up = (f"new.adapter_ffn.{tower}.{i}.{part}" for part in ("down", "up"))
            return out + 0.1 * hand.linear(n, up, np.maximum(hand.linear(n, down, x), 0))

        return {"after_mlp": beside}

    model = trained("vop+adapter_ffn", {"tokens": 2, "width": 5})
    check(model, prompts=lambda n, tower: n[f"new.vop.{tower}"], changes=changes)


def test_compositions_address_their_parts():
    complete = methods.settings("vop+adapter_attn+adapter_ffn", {"width": 8, "adapter_ffn.scale": 2, "tokens": 4})
    assert complete["adapter_attn"] == {"width": 8, "scale": 1.0, "reads": "normed"}
    assert complete["adapter_ffn"] == {"width": 8, "scale": 2.0, "reads": "stream"}
    assert complete["vop"]["tokens"] == 4
    for method, setting, message in [
        ("vop+vop", {}, "twice"),
        ("vop+voop", {}, "did you mean 'vop'"),
        ("vop", {"token": 4}, "did you mean 'tokens'"),
        ("vop+bias", {"bias.tokens": 4}, "unknown setting 'bias.tokens'"),
        ("vop+bias", {"full.rule": "x"}, "unknown part 'full'"),
        ("cross_modal_adapter", {"share": 1}, "allowed: bool"),
        ("vop", {"tokens": True}, "allowed: int"),
        ("vop", {"readout": "relased"}, "did you mean 'released'"),
    ]:
        with pytest.raises(PetvrError, match=message):
            methods.settings(method, setting)


@pytest.mark.parametrize(
    ("method", "setting", "message"),
    [
        ("vop", {"tokens": 0}, "allowed: 1 to 10"),
        ("vop", {"tokens": 11}, "allowed: 1 to 10"),
        ("vop", {"tokens": 3, "readout": "released"}, "even"),
        ("partial", {"blocks": 3}, "allowed: 1 to 2"),
        ("full", {"rule": "everything", "freeze": 2}, "allows only 0"),
        ("cross_modal_adapter", {"ds": 13}, "'ds': 13 given, allowed: 1 to 12"),
        ("cross_modal_adapter", {"r": 0}, "'r': 0 given, allowed: 1 or more"),
    ],
)
def test_values_that_do_not_fit_the_towers_are_refused_with_what_is_allowed(method, setting, message):
    with pytest.raises(PetvrError, match=message):
        methods.adapt(weights.random(TINY), method, setting, frames=2, words=6, generator=torch.Generator())


def test_the_logit_scale_is_the_methods_unless_the_caller_decides():
    def trains(method, decision):
        model = methods.adapt(
            weights.random(TINY), method, {}, frames=2, words=6, generator=torch.Generator(), train_logit_scale=decision
        )
        return "clip.logit_scale" in model.trainable()

    assert [trains("full", d) for d in (None, True, False)] == [True, True, False]
    assert [trains("vop", d) for d in (None, True, False)] == [False, True, False]


def test_adapters_of_another_method_or_size_and_broken_files_are_refused(tmp_path):
    model = trained("vop", {"tokens": 2})
    model.save(tmp_path / "two.safetensors")
    with pytest.raises(PetvrError, match=r"two\.safetensors: is no adapter of this method and setting: 'new"):
        trained("vop", {"tokens": 3}).load(tmp_path / "two.safetensors")
    with pytest.raises(PetvrError, match="only on one side"):
        trained("bias", {}).load(tmp_path / "two.safetensors")
    data = (tmp_path / "two.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(PetvrError, match=r"half\.safetensors: not readable"):
        model.load(tmp_path / "half.safetensors")
    with pytest.raises(PetvrError, match="no such adapter"):
        model.load(tmp_path / "absent.safetensors")


def test_names_and_versions_come_without_torch():
    import subprocess
    import sys

    code = (
        "import sys; from petvr import methods, similarity; import petvr.clip;"
        "[methods.version(n) + len(methods.defaults(n)) for n in methods.available()];"
        "[similarity.version(n) for n in similarity.available()];"
        "methods.settings('vop', {'tokens': 4});"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
