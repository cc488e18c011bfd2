"""Resize and crop against transformers' image processor and against an independent crop."""

import numpy as np
import pytest
from PIL import Image

from petvr.data.frames.preprocess import crop_box, prepare, scaled


def noise(height, width):
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def processor():
    clip = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    return lambda size: clip.CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}, do_rescale=False, do_normalize=False
    )


@pytest.mark.parametrize(
    "height, width, size",
    [
        (240, 320, 224),
        (360, 480, 224),
        (320, 240, 224),
        (1080, 1920, 224),
        (224, 224, 224),
        (100, 150, 224),
        (64, 96, 32),
    ],
)
def test_same_pixels_as_transformers_where_both_round_alike(processor, height, width, size):
    cut = max(scaled(width, height, size)) - size
    assert round(cut / 2) == cut // 2, "choose another size: the two crops differ here by design"
    picture = noise(height, width)
    theirs = processor(size)(picture, return_tensors="np")["pixel_values"][0]
    ours = prepare(picture, size)
    assert ours.dtype == np.uint8 and ours.shape == (3, size, size)
    assert np.array_equal(ours, theirs)


def test_odd_remainder_is_cut_as_torchvision_does(processor):
    # 227 columns to 224: round(1.5) = 2 on the left (torchvision, so CLIP and CLIP4Clip), transformers cuts 1
    picture = noise(224, 227)
    assert np.array_equal(prepare(picture, 224), picture[:, 2:226].transpose(2, 0, 1))
    theirs = processor(224)(picture, return_tensors="np")["pixel_values"][0]
    assert np.array_equal(theirs, picture[:, 1:225].transpose(2, 0, 1))
    # 225: round(0.5) = 0, half to even
    assert crop_box(225, 224, 224) == (0, 0, 224, 224)


def test_longer_side_is_rounded_down():
    assert scaled(427, 240, 224) == (398, 224)  # 398.53
    assert scaled(240, 427, 224) == (224, 398)
    picture = noise(240, 427)
    whole = np.asarray(Image.fromarray(picture).resize((398, 224), Image.Resampling.BICUBIC))
    assert np.array_equal(prepare(picture, 224), whole[:, 87:311].transpose(2, 0, 1))


@pytest.mark.parametrize("height, width, size", [(240, 320, 224), (90, 37, 24), (20, 30, 48)])
def test_aliased_pictures_are_those_of_torchs_resize_without_antialiasing(height, width, size):
    torch = pytest.importorskip("torch")

    picture, (wide, high) = noise(height, width), scaled(width, height, size)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
    resized = torch.nn.functional.interpolate(tensor, size=(high, wide), mode="bicubic", align_corners=False)[0]
    left, top, right, bottom = crop_box(wide, high, size)
    off = np.abs(resized.numpy().clip(0, 255)[:, top:bottom, left:right] - prepare(picture, size, "crop_aliased"))
    assert off.max() < 0.501  # half a grey level of rounding


def test_stretched_pictures_show_the_whole_frame_and_cropped_ones_its_middle():
    frame = np.zeros((60, 120, 3), np.uint8)
    frame[:, :15], frame[:, -15:] = 255, 255  # what a square in the middle does not reach
    stretched, cropped = prepare(frame, 40, "stretch"), prepare(frame, 40, "crop")
    assert stretched.shape == cropped.shape == (3, 40, 40)
    assert (stretched[:, :, [0, -1]] == 255).all() and not cropped.any()
    by_pil = Image.fromarray(frame).resize((40, 40), Image.Resampling.BICUBIC)
    assert np.array_equal(stretched.transpose(1, 2, 0), np.asarray(by_pil))
