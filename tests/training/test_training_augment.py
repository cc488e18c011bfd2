"""One crop and flip per clip, taken from the right place."""

import torch

from petvr.training import augment
from petvr.training.determinism import torch_generator


def clips(videos=3, frames=2, size=16):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (videos, frames, 3, size, size), generator=generator, dtype=torch.uint8)


def test_the_crop_is_bilinear_interpolation_of_its_box_and_flipped():
    pixels = clips(videos=6)
    out = augment.crop_flip(pixels, torch_generator(0, "test"))
    boxes, flips = augment.draw_boxes(6, 16, torch_generator(0, "test"))
    assert flips.any() and not flips.all()
    for clip, (left, top, width, height), flip, result in zip(pixels, boxes.tolist(), flips, out, strict=True):
        crop = clip[:, :, top : top + height, left : left + width].float()
        expected = torch.nn.functional.interpolate(crop, size=(16, 16), mode="bilinear", align_corners=False)
        assert torch.allclose(result, expected.flip(-1) if flip else expected, atol=1e-2)


def test_all_frames_of_a_clip_share_the_crop_and_clips_do_not():
    picture = clips(videos=1, frames=1)
    same = picture.expand(4, 3, -1, -1, -1)
    out = augment.crop_flip(same, torch_generator(1, "test"))
    assert torch.equal(out[:, 0], out[:, 1]) and torch.equal(out[:, 0], out[:, 2])
    assert not torch.equal(out[0], out[1])


def test_boxes_keep_their_share_and_ratio():
    boxes, flips = augment.draw_boxes(2000, 224, torch_generator(2, "test"))
    left, top, width, height = boxes.double().unbind(1)
    area, ratio = width * height / 224**2, width / height
    assert 0.49 <= area.min() < 0.55 and 0.95 < area.max() <= 1.0
    assert 0.74 <= ratio.min() < 0.8 and 1.25 < ratio.max() <= 1.35
    assert (left + width).max() <= 224 and (top + height).max() <= 224 and left.min() >= 0
    assert 0.45 < flips.double().mean() < 0.55


def test_the_same_name_draws_the_same_crop():
    one = augment.crop_flip(clips(), torch_generator(0, "augment", 5))
    two = augment.crop_flip(clips(), torch_generator(0, "augment", 5))
    assert torch.equal(one, two)
    assert not torch.equal(one, augment.crop_flip(clips(), torch_generator(0, "augment", 6)))
