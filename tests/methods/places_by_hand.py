"""CLIP's towers in numpy, all frames of a video together, with the named places of petvr.clip.insert.

For methods that act at several places or across frames; from the formulas, one token and one head at a time.
`changes`: place -> fn(layer, frames, read, stream), where `frames` is what stands there (a list over the frames of a
video, or over one text, of arrays [tokens, width]), `read` what the sub-layer read and `stream` what it is added to.
"""

import numpy as np
import torch
from clip_by_hand import linear, norm, numbers, quick_gelu

from petvr import methods
from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower

TINY = ClipConfig(Tower(16, 2, 2, 32), Tower(12, 2, 3, 24), image=12, patch=4, positions=12, vocab=30, eot=29, embed=6)
IDS = [28, 5, 9, 3, 29]
FRAMES, WORDS = 4, 7


def each(function, frames):
    return [np.stack([function(token) for token in frame]) for frame in frames]


def sums(a, b):
    return [x + y for x, y in zip(a, b, strict=True)]


def rows(n, name, frames):
    return each(lambda x: linear(n, name, x), frames)


def normed(n, name, frames):
    return each(lambda x: norm(x, n[f"{name}.weight"], n[f"{name}.bias"]), frames)


def attend(q, k, v, heads, causal):
    """One frame or text: [S, D] each -> [S, D]."""
    size, out = q.shape[1] // heads, np.zeros_like(q)
    for at in range(len(q)):
        seen = range(at + 1) if causal else range(len(q))
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            weights = np.array([np.exp(q[at, part] @ k[other, part] / np.sqrt(size)) for other in seen])
            out[at, part] = sum(w * v[other, part] for w, other in zip(weights / weights.sum(), seen, strict=True))
    return out


def blocks(n, tower, part, frames, changes):
    def at(place, i, x, read=None, stream=None):
        return changes[place](i, x, read, stream) if place in changes else x

    for i in range(part.layers):
        name = f"clip.{tower}_model.encoder.layers.{i}"
        frames = at("block_in", i, frames)
        h = at("attn_in", i, normed(n, f"{name}.layer_norm1", frames))
        projected = [rows(n, f"{name}.self_attn.{p}_proj", h) for p in "qkv"]
        q, k, v = at("qkv", i, projected, h)
        mixed = [attend(*qkv, part.heads, tower == "text") for qkv in zip(q, k, v, strict=True)]
        out = rows(n, f"{name}.self_attn.out_proj", mixed)
        frames = at("mid", i, sums(frames, at("attn_out", i, out, h, frames)))
        h = at("mlp_in", i, normed(n, f"{name}.layer_norm2", frames))
        out = rows(n, f"{name}.mlp.fc2", [quick_gelu(x) for x in rows(n, f"{name}.mlp.fc1", h)])
        frames = at("block_out", i, sums(frames, at("mlp_out", i, out, h, frames)))
    return frames


def video(n, config, pixels, changes):
    """pixels [F, 3, H, W] -> [F, E]."""
    p, side = config.patch, config.image // config.patch
    kernel, position = (n[f"clip.vision_model.embeddings.{k}_embedding.weight"] for k in ("patch", "position"))
    frames = []
    for picture in pixels:
        tokens = [n["clip.vision_model.embeddings.class_embedding"]]
        for row in range(side):
            for column in range(side):
                patch = picture[:, row * p : (row + 1) * p, column * p : (column + 1) * p]
                tokens.append((kernel * patch).sum(axis=(1, 2, 3)))
        frames.append(np.stack(tokens) + position)
    frames = normed(n, "clip.vision_model.pre_layrnorm", frames)
    frames = blocks(n, "vision", config.vision, frames, changes)
    cls = normed(n, "clip.vision_model.post_layernorm", [frame[:1] for frame in frames])
    return np.stack([n["clip.visual_projection.weight"] @ x[0] for x in cls])


def text(n, config, ids, changes):
    """ids up to EOT -> [E]."""
    words, position = (n[f"clip.text_model.embeddings.{k}_embedding.weight"] for k in ("token", "position"))
    (tokens,) = blocks(n, "text", config.text, [words[list(ids)] + position[: len(ids)]], changes)
    (last,) = normed(n, "clip.text_model.final_layer_norm", [tokens[-1:]])
    return n["clip.text_projection.weight"] @ last[0]


def trained(method, setting, moved=0.3):
    """Far from initialisation: everything that trains, and every LayerNorm and bias of CLIP, has moved."""
    generator = torch.Generator().manual_seed(0)
    clip = weights.random(TINY, 1)
    model = methods.adapt(clip, method, setting, frames=FRAMES, words=WORDS, generator=generator).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * moved)
    return model


def check(model, changes, n=None):
    """Features of three frames, the last one masked, and of a text against numpy; `changes`(n, tower)."""
    n = numbers(model) if n is None else n
    pixels = torch.randn(1, 3, 3, 12, 12, generator=torch.Generator().manual_seed(4))
    mask = torch.tensor([[True, True, False]])
    with torch.no_grad():
        frames, texts = model.encode_frames(pixels, mask), model.encode_texts(torch.tensor([IDS]))
    expected = video(n, TINY, pixels[0, :2].double().numpy(), changes(n, "vision"))
    np.testing.assert_allclose(frames[0, :2].numpy(), expected, atol=1e-4, rtol=1e-3)
    np.testing.assert_allclose(texts[0].numpy(), text(n, TINY, IDS, changes(n, "text")), atol=1e-4, rtol=1e-3)


def adapt_mlp(n, name, scale, source):
    """s * ReLU(LN(x) W_down) W_up of one token."""
    x = norm(source, n[f"{name}.norm.weight"], n[f"{name}.norm.bias"])
    return scale * linear(n, f"{name}.up", np.maximum(linear(n, f"{name}.down", x), 0))
