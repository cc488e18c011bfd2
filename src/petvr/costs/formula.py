"""The same operations in closed form, for CLIP itself: what the counter is checked against.

A block of width D over S tokens: 2 S (4 D^2 + 2 D M) for its Linear layers (M the MLP's width) and 4 S^2 D for the two
products of attention.
"""

from __future__ import annotations

from petvr.clip.config import ClipConfig, Tower


def block(tower: Tower, tokens: int) -> float:
    linear = 2 * tokens * (4 * tower.width**2 + 2 * tower.width * tower.mlp)
    return linear + attention(tower, tokens)


def attention(tower: Tower, tokens: int) -> float:
    """q k^T and its product with v, all positions of a causal sequence included."""
    return 4 * tokens**2 * tower.width


def frame(config: ClipConfig) -> float:
    """One frame through the vision tower, forward."""
    return patches(config) + config.vision.layers * block(config.vision, 1 + config.patches) + top(config, "vision")


def patches(config: ClipConfig) -> float:
    """The patch convolution."""
    return 2 * config.patches * 3 * config.patch**2 * config.vision.width


def top(config: ClipConfig, tower: str) -> float:
    """The projection of one feature."""
    return 2 * getattr(config, tower).width * config.embed


def text(config: ClipConfig, words: int) -> float:
    """One caption of W tokens, forward."""
    return config.text.layers * block(config.text, words) + top(config, "text")


def parameters(config: ClipConfig) -> int:
    """Every number of CLIP that can be trained: blocks, embeddings, outer LayerNorms, projections, logit scale."""

    def tower(part: Tower, embeddings: int, norms: int) -> int:
        width, mlp = part.width, part.mlp
        block = 4 * width**2 + 2 * width * mlp + 9 * width + mlp  # Linears, their biases, two LayerNorms
        return part.layers * block + width * (embeddings + 2 * norms + config.embed)

    vision = tower(config.vision, 3 * config.patch**2 + 1 + (1 + config.patches), norms=2)
    return vision + tower(config.text, config.vocab + config.positions, norms=1) + 1


def pair(config: ClipConfig, frames: int, words: int) -> float:
    """One video and one caption, forward, without scores."""
    return frames * frame(config) + text(config, words)
