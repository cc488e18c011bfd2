"""CLIP's image preparation up to the uint8 square; division by 255 and normalisation happen on the device.

crop: shorter side to `size` by PIL's bicubic filter on uint8, longer side rounded down, centre crop of `size` x `size`:
torchvision's Resize and CenterCrop on PIL images, as openai/CLIP and CLIP4Clip use them. Where an odd number of columns
is cut off, torchvision cuts round((w - size) / 2), half to even, on the left; transformers rounds down, and its crop is
then one pixel further left for half of those widths.

stretch: both sides to `size` at once by the same filter ("we resize frames to a size of 224 x 224", Cross-Modal
Adapter's text; its code crops). crop_aliased: as crop, but resized as X-Pool's code does with torchvision of 2022, a
tensor without antialiasing.
"""

from __future__ import annotations

import numpy as np

VERSION = 1
PICTURES = ("crop", "stretch", "crop_aliased")


def scaled(width: int, height: int, size: int) -> tuple[int, int]:
    """(width, height) after the shorter side became `size`."""
    if width <= height:
        return size, int(size * height / width)
    return int(size * width / height), size


def crop_box(width: int, height: int, size: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the centre crop."""
    left, top = round((width - size) / 2), round((height - size) / 2)
    return left, top, left + size, top + size


def prepare(pixels: np.ndarray, size: int, picture: str = "crop") -> np.ndarray:
    """uint8 [H, W, 3] -> uint8 [3, size, size]."""
    from PIL import Image

    height, width = pixels.shape[:2]
    target = (size, size) if picture == "stretch" else scaled(width, height, size)
    if picture == "crop_aliased":
        pixels = resize_aliased(pixels, *target)
    elif target != (width, height):
        pixels = np.asarray(Image.fromarray(pixels).resize(target, Image.Resampling.BICUBIC))
    left, top, right, bottom = crop_box(*target, size)
    return np.ascontiguousarray(pixels[top:bottom, left:right].transpose(2, 0, 1))


def resize_aliased(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """uint8 [H, W, 3] -> uint8 [height, width, 3] as torch resizes a tensor: 4 x 4 samples however far it shrinks.

    Rounded to uint8, which a tensor of floats is not.
    """
    resized: np.ndarray = pixels.astype(np.float32)
    for axis, size in ((0, height), (1, width)):
        old, shape = resized.shape[axis], (-1, 1, 1) if axis == 0 else (1, -1, 1)
        centre = (np.arange(size) + 0.5) * old / size - 0.5
        first = np.floor(centre).astype(int)
        samples = [
            _cubic(np.abs(centre - first - step)).astype(np.float32).reshape(shape)
            * resized.take((first + step).clip(0, old - 1), axis)
            for step in range(-1, 3)
        ]
        resized = np.sum(samples, axis=0)
    return resized.round().clip(0, 255).astype(np.uint8)


def _cubic(x: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel of [Keys 1981] with a = -0.75, torch's; PIL's has -0.5."""
    near, far = 1.25 * x**3 - 2.25 * x**2 + 1, -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, far)
