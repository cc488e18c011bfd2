"""ST-Adapter against its formula, frame by frame; only real frames are neighbours."""

from types import SimpleNamespace

import pytest
import torch
from clip_by_hand import linear
from places_by_hand import adapt_mlp, check, each, sums, trained

torch.set_num_threads(1)


@pytest.mark.parametrize("per_block", [2, 1])
@pytest.mark.parametrize("text", ["frozen", "adaptformer"])
def test_patches_read_the_frame_before_and_the_frame_after(per_block, text):
    def changes(n, tower):
        def along(place):
            def act(i, frames, read, stream):
                name, out = f"new.st_adapter.vision_{place}.{i}", []
                low = each(lambda x: linear(n, f"{name}.down", x), frames)
                for f, frame in enumerate(frames):
                    mixed = n[f"{name}.taps_bias"] + 0 * low[f]
                    for tap, shift in enumerate((-1, 0, 1)):
                        if 0 <= f + shift < len(frames):
                            mixed = mixed + n[f"{name}.taps"][tap] * low[f + shift]
                    new = frame.copy()
                    new[1:] += each(lambda x: linear(n, f"{name}.up", x), [mixed[1:]])[0]
                    out.append(new)
                return out

            return act

        if tower == "vision":
            return {place: along(place) for place in ("block_in", "mid")[:per_block]}
        if text == "frozen":
            return {}
        mlp = lambda i, x: adapt_mlp(n, f"new.st_adapter.text.{i}", 0.1, x)  # noqa: E731
        return {"mlp_out": lambda i, frames, read, stream: sums(frames, each(lambda x: mlp(i, x), frames))}

    check(trained("st_adapter", {"per_block": per_block, "width": 5, "text": text, "text_width": 5}), changes)


def test_the_text_tower_trains_as_a_whole_with_its_projection_or_not_at_all():
    def clips(setting):
        model = trained("st_adapter", {"width": 5, **setting})
        return {name for name in model.trainable() if model.part(name) == "clip"}

    everything = {name for name, _ in trained("st_adapter", {"width": 5}).named_parameters()}
    text = {name for name in everything if name.startswith(("clip.text_model.", "clip.text_projection."))}
    assert clips({}) == set() and clips({"text": "trained"}) == text
    assert clips({"biases": True}) == {n for n in everything if n.startswith("clip.") and n.endswith(".bias")}


def test_a_frame_hears_of_its_neighbours_one_adapter_further_each_time():
    """Two blocks, one adapter each: CLS of frame 0 can hear of frame 1 and 2, but not of frame 3."""
    model = trained("st_adapter", {"per_block": 1, "width": 5})
    pixels = torch.randn(1, 4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model.encode_frames(pixels)
        moved = {}
        for f in range(4):
            changed = pixels.clone()
            changed[0, f] += 1
            moved[f] = not torch.allclose(model.encode_frames(changed)[0, 0], before[0, 0], atol=1e-6)
    assert moved == {0: True, 1: True, 2: True, 3: False}


def test_frames_joined_into_one_sequence_give_what_they_give_apart():
    """[B, F CLS, F * P patches], as VoP^F makes it, is the same tokens in another order."""
    adapter = trained("st_adapter", {"width": 5}).new["st_adapter"]["vision_mid"][0]
    mask = torch.tensor([[True, True, True], [True, True, False]])

    def join(x):
        x = x.unflatten(0, (2, 3))
        return torch.cat([x[:, :, 0], x[:, :, 1:].flatten(1, 2)], dim=1)

    x = torch.randn(6, 1 + 9, 16)
    with torch.no_grad():
        apart = adapter(x, SimpleNamespace(videos=2, frames=3, num_leading_tokens=1, mask=mask))
        together = adapter(join(x), SimpleNamespace(videos=2, frames=3, num_leading_tokens=3, mask=mask))
    torch.testing.assert_close(together, join(apart))
