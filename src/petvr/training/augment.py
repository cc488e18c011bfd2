"""X-Pool's training augmentation, on the device (docs/protocols.md)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

SCALE = (0.5, 1.0)  # share of the picture's area
RATIO = (3 / 4, 4 / 3)  # width : height; torchvision's default, which X-Pool leaves as it is


def crop_flip(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """uint8 [B, F, 3, S, S] -> float of that shape in 0..255: one random resized crop and flip per clip.

    The crop is taken from the stored square picture, not from the whole frame as upstream does: what the centre crop
    cut away cannot come back. Bilinear; `generator` lies on the CPU.
    """
    videos, frames, channels, size, _ = pixels.shape
    boxes, flips = draw_boxes(videos, size, generator)
    grid = _grid(boxes, flips, size).to(pixels.device, non_blocking=True)
    flat = pixels.reshape(videos, frames * channels, size, size).float()
    out = functional.grid_sample(flat, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return out.view(videos, frames, channels, size, size)


def draw_boxes(videos: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Boxes int64 [B, 4] (left, top, width, height) and flips bool [B].

    Area uniform in SCALE, ratio log-uniform in RATIO; a draw that does not fit the picture is repeated up to ten times,
    then the whole picture is taken.
    """
    boxes = torch.tensor([[0, 0, size, size]]).repeat(videos, 1)
    low, high = (math.log(bound) for bound in RATIO)
    numbers = torch.rand(videos, 10, 4, generator=generator, dtype=torch.float64).tolist()
    for video in range(videos):
        for area, ratio, x, y in numbers[video]:
            area = (SCALE[0] + (SCALE[1] - SCALE[0]) * area) * size * size
            ratio = math.exp(low + (high - low) * ratio)
            width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < width <= size and 0 < height <= size:
                left, top = int(x * (size - width + 1)), int(y * (size - height + 1))
                boxes[video] = torch.tensor([left, top, width, height])
                break
    return boxes, torch.rand(videos, generator=generator) < 0.5


def _grid(boxes: Tensor, flips: Tensor, size: int) -> Tensor:
    """Where each output pixel reads, [B, S, S, 2] in grid_sample's coordinates, never beyond the crop's own pixels."""
    left, top, width, height = (part[:, None].double() for part in boxes.unbind(1))
    centre = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    x = (left + centre * width - 0.5).clamp(left, left + width - 1)
    y = (top + centre * height - 0.5).clamp(top, top + height - 1)
    x = torch.where(flips[:, None], x.flip(1), x)
    x, y = ((2 * part + 1) / size - 1 for part in (x, y))
    grid = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], dim=-1)
    return grid.float()
