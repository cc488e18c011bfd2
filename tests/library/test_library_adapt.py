"""`petvr.adapt`: towers for one's own loop; only what the method declares trains, and it learns."""

import pytest
import torch
import training_bench as tiny

import petvr
from petvr.clip import weights


def test_a_loop_of_ones_own_trains_the_method_alone(results):
    towers = petvr.adapt(results / "weights" / "tiny", "lora", rank=2, frames=3, words=12)
    assert isinstance(towers, torch.nn.Module) and towers.counts()["clip"] == 0
    before = {name: part.detach().clone() for name, part in towers.named_parameters()}
    ids = towers.tokenize(["red left", "blue up"], 12)
    pixels = torch.randint(0, 255, (2, 3, 3, tiny.SIZE, tiny.SIZE), dtype=torch.uint8, generator=torch.Generator())
    optimizer = torch.optim.AdamW(towers.trainable().values(), lr=1e-2)
    losses = []
    for _ in range(8):
        text = torch.nn.functional.normalize(towers.encode_texts(ids), dim=-1)
        video = torch.nn.functional.normalize(towers.encode_frames(towers.normalise(pixels)).mean(dim=1), dim=-1)
        logits = towers.logit_scale.exp() * text @ video.T
        losses.append(torch.nn.functional.cross_entropy(logits, torch.arange(2)))
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.5 * losses[0]
    moved = {name for name, part in towers.named_parameters() if not torch.equal(part, before[name])}
    assert moved == set(towers.trainable()) and all(name.startswith("new.lora.") for name in moved)


def test_a_clip_in_memory_is_copied(results):
    from transformers import CLIPModel

    folder = results / "weights" / "tiny"
    ids = petvr.adapt(folder, "zero_shot").tokenize(["red left"], 12)
    expected = weights.load_clip(folder).encode_texts(ids)
    for clip in (CLIPModel.from_pretrained(folder), weights.load_clip(folder)):
        towers = petvr.adapt(clip, "bias")
        assert torch.allclose(towers.encode_texts(ids), expected, atol=1e-6) and towers.tokenize is None
        with torch.no_grad():
            for part in towers.parameters():
                part.zero_()
        assert any(part.any() for part in clip.parameters())


def test_what_cannot_be_adapted_is_one_line(results):
    folder = results / "weights" / "tiny"
    for clip, method, options, said in (
        (folder, "lroa", {}, "unknown method 'lroa'.*mean 'lora'"),
        (folder, "lora", {"rnak": 8}, "unknown setting 'rnak'.*mean 'rank'"),
        (folder, "lora", {"rank": 0}, "setting 'rank': 0 given"),
        (folder, "lora", {"frames": 0}, "frames: 0 given"),
        (folder, "lora", {"words": True}, "words: True given"),
        (folder, "lora", {"seed": -1}, "seed: -1 given"),
        (folder, ["lora"], {}, r"method: \['lora'\] given"),
        ("", "lora", {}, "clip: '' given"),
        (folder, "lora", {"train_logit_scale": "yes"}, "train_logit_scale: 'yes' given"),
        ("no such folder", "lora", {}, "no folder of a CLIPModel, and no hub id"),
        (torch.nn.Linear(2, 2), "lora", {}, "Linear is no CLIP"),
        (3, "lora", {}, "int is no CLIP"),
    ):
        with pytest.raises(petvr.PetvrError, match=said):
            petvr.adapt(clip, method, **options)
