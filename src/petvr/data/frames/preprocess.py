"""CLIP's image preparation up to the uint8 crop; division by 255 and normalisation happen on the device.

Shorter side to `size` by PIL's bicubic filter on uint8, longer side rounded down, centre crop of `size` x `size`:
torchvision's Resize and CenterCrop on PIL images, as openai/CLIP and CLIP4Clip use them. Where an odd number of columns
is cut off, torchvision cuts round((w - size) / 2), half to even, on the left; transformers rounds down, and its crop is
then one pixel further left for half of those widths.
"""

from __future__ import annotations

import numpy as np

VERSION = 1


def scaled(width: int, height: int, size: int) -> tuple[int, int]:
    """(width, height) after the shorter side became `size`."""
    if width <= height:
        return size, int(size * height / width)
    return int(size * width / height), size


def crop_box(width: int, height: int, size: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the centre crop."""
    left, top = round((width - size) / 2), round((height - size) / 2)
    return left, top, left + size, top + size


def prepare(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 [H, W, 3] -> uint8 [3, size, size]."""
    from PIL import Image

    image = Image.fromarray(pixels)
    target = scaled(*image.size, size)
    if target != image.size:
        image = image.resize(target, Image.Resampling.BICUBIC)
    image = image.crop(crop_box(*image.size, size))
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
