"""CLIP in numpy, one token and one head at a time, from the formulas: what the arithmetic tests rest on."""

import numpy as np


def numbers(model):
    """Name -> float64 array, of CLIP and of what a method added."""
    return {name: parameter.detach().double().numpy() for name, parameter in model.named_parameters()}


def norm(v, weight, bias):
    return (v - v.mean()) / np.sqrt(((v - v.mean()) ** 2).mean() + 1e-5) * weight + bias


def quick_gelu(v):
    return v / (1 + np.exp(-1.702 * v))


def linear(n, name, v):
    return n[f"{name}.weight"] @ v + n[f"{name}.bias"]


def block(n, tower, i, tokens, heads, after_attn=None, after_mlp=None):
    """tokens: list of vectors -> list of vectors. `after_*`(i, out, h, x) change one token's sub-layer output."""
    name = f"clip.{tower}_model.encoder.layers.{i}"
    h = [norm(x, n[f"{name}.layer_norm1.weight"], n[f"{name}.layer_norm1.bias"]) for x in tokens]
    q, k, v = ([linear(n, f"{name}.self_attn.{p}_proj", x) for x in h] for p in "qkv")
    size = len(tokens[0]) // heads
    summed = []
    for at, x in enumerate(tokens):
        seen = range(at + 1) if tower == "text" else range(len(tokens))
        mixed = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            weights = np.array([np.exp(q[at][part] @ k[other][part] / np.sqrt(size)) for other in seen])
            mixed.append(sum(w * v[other][part] for w, other in zip(weights / weights.sum(), seen, strict=True)))
        out = linear(n, f"{name}.self_attn.out_proj", np.concatenate(mixed))
        summed.append(x + (after_attn(i, out, h[at], x) if after_attn else out))
    left = []
    for x in summed:
        h2 = norm(x, n[f"{name}.layer_norm2.weight"], n[f"{name}.layer_norm2.bias"])
        out = linear(n, f"{name}.mlp.fc2", quick_gelu(linear(n, f"{name}.mlp.fc1", h2)))
        left.append(x + (after_mlp(i, out, h2, x) if after_mlp else out))
    return left


def embed(n, config, pixels):
    """pixels [3, H, W] -> CLS and patches with positions, before the first LayerNorm."""
    p, side = config.patch, config.image // config.patch
    kernel, position = (n[f"clip.vision_model.embeddings.{k}_embedding.weight"] for k in ("patch", "position"))
    tokens = [n["clip.vision_model.embeddings.class_embedding"] + position[0]]
    for row in range(side):
        for column in range(side):
            patch = pixels[:, row * p : (row + 1) * p, column * p : (column + 1) * p]
            tokens.append((kernel * patch).sum(axis=(1, 2, 3)) + position[1 + row * side + column])
    return tokens


def pre(n, token):
    name = "clip.vision_model.pre_layrnorm"
    return norm(token, n[f"{name}.weight"], n[f"{name}.bias"])


def read_frame(n, cls):
    after = "clip.vision_model.post_layernorm"
    return n["clip.visual_projection.weight"] @ norm(cls, n[f"{after}.weight"], n[f"{after}.bias"])


def vision(n, config, pixels, prompts=None, **changes):
    """pixels [3, H, W] -> [E]. prompts [L, n, D] stand behind CLS in every block, new ones each time."""
    tokens = [pre(n, x) for x in embed(n, config, pixels)]
    for i in range(config.vision.layers):
        fresh = [] if prompts is None else [pre(n, x) if i == 0 else x for x in prompts[i]]
        out = block(n, "vision", i, [tokens[0], *fresh, *tokens[1:]], config.vision.heads, **changes)
        tokens = [out[0], *out[1 + len(fresh) :]]
    return read_frame(n, tokens[0])


def text(n, config, ids, prompts=None, **changes):
    """ids up to EOT -> [E]. prompts stand behind SOT; the first block's get positions, so that the words move."""
    words, position = (n[f"clip.text_model.embeddings.{k}_embedding.weight"] for k in ("token", "position"))
    start = [words[number] for number in ids]
    if prompts is not None:
        start = [start[0], *prompts[0], *start[1:]]
    start = [x + position[at] for at, x in enumerate(start)]
    count = 0 if prompts is None else len(prompts[0])
    fresh, tokens = start[1 : 1 + count], [start[0], *start[1 + count :]]
    for i in range(config.text.layers):
        if i and count:
            fresh = list(prompts[i])
        out = block(n, "text", i, [tokens[0], *fresh, *tokens[1:]], config.text.heads, **changes)
        tokens = [out[0], *out[1 + count :]]
    return read(n, tokens[-1])


def read(n, token):
    last = "clip.text_model.final_layer_norm"
    return n["clip.text_projection.weight"] @ norm(token, n[f"{last}.weight"], n[f"{last}.bias"])
