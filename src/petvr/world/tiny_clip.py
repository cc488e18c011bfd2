"""The demo's backbone: CLIP's architecture, twelve narrow layers in both towers, trained on still pictures.

It is to the world's videos what OpenAI's CLIP is to real ones: it knows what is to be seen, and nothing about time.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path

import numpy as np

from petvr.atomic import replacing, write_json
from petvr.errors import PetvrError
from petvr.world import IMAGE_SIZE, bpe, captions, scene_sampler, stills
from petvr.world.layouts import load_layout
from petvr.world.progress import ProgressLine
from petvr.world.seeds import generator, number

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's
VERSION = 1
CORPUS = ("msrvtt", "msvd", "lsmdc", "didemo", "activitynet", "vatex")  # a further layout changes no weights


def train(
    out: Path,
    *,
    seed: int = 0,
    steps: int = 400,
    batch: int = 48,
    lr: float = 1e-3,
    lr_layers: float = 5e-3,
    width: int = 64,
    heads: int = 2,
    layers: int = 12,
    embed: int = 64,
    image: int = IMAGE_SIZE,
    patch: int = 16,
    pool: int = 6000,
    threads: int = 1,
    progress: bool = True,
) -> dict:
    """Train on `pool` stills and save a CLIPModel folder at `out`; returns what `training.json` in it holds.

    Symmetric contrastive loss over the batch; orthogonalised momentum for the layers' matrices (rate `lr_layers`),
    AdamW for the rest (rate `lr`), warm-up and cosine. The folder appears when it is complete. On one machine with the
    same `threads` the same seed gives the same weights. Raises PetvrError for sizes that do not fit.
    """
    import torch
    from safetensors.torch import save_file

    from petvr.clip.weights import write_record

    out = Path(out)
    if image % patch or width % heads or min(steps, batch, layers) < 1 or batch > pool:
        raise PetvrError(
            f"tiny CLIP: image {image} must be a multiple of patch {patch}, width {width} of heads {heads}, "
            f"batch {batch} at most pool {pool}, and all of them positive"
        )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        vocabulary, merges = bpe.learn_bpe(corpus(seed), merges=600)
        model = build_model(len(vocabulary), seed, width, heads, layers, embed, image, patch)
        history = _fit(model, vocabulary, merges, seed, steps, batch, (lr, lr_layers), pool, progress)
    finally:
        torch.set_num_threads(before)
    record = {
        "version": VERSION,
        "seed": seed,
        "steps": steps,
        "batch": batch,
        "lr": lr,
        "lr_layers": lr_layers,
        "pool": pool,
        **history,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        model.config.architectures = ["CLIPModel"]
        model.config.save_pretrained(part)
        with replacing(part / "model.safetensors") as temporary:
            save_file(model.state_dict(), temporary, metadata={"format": "pt"})
        bpe.save_tokenizer(vocabulary, merges, part)
        write_json(part / "training.json", record)
        write_record(part)
        part.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return record


def corpus(seed: int, count: int = 400) -> list[str]:
    """Sentences about stills and about clips: the tokenizer knows the words for time, the model has never read them."""
    sentences = []
    for kind in CORPUS:
        style = load_layout(kind).STYLE
        for index in range(count // 4):
            rng = generator(seed, "tokenizer", kind, index)
            sentences += [caption.text for caption in captions.captions(scene_sampler.sample_scene(style, rng), rng, 8)]
    for index in range(count):
        rng = generator(seed, "tokenizer", "still", index)
        sentences.append(stills.caption_still(stills.sample_still(rng), rng))
    return sentences


def build_model(symbols: int, seed: int, width: int, heads: int, layers: int, embed: int, image: int, patch: int):
    """A CLIPModel of this size with weights drawn from `seed` alone."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    tower = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "projection_dim": embed,
        "hidden_act": "quick_gelu",
    }
    ends = {
        "bos_token_id": symbols - 2,
        "eos_token_id": symbols - 1,
        "pad_token_id": symbols - 1,
    }
    config = CLIPConfig(
        text_config={**tower, **ends, "vocab_size": symbols, "max_position_embeddings": bpe.CONTEXT},
        vision_config={**tower, "image_size": image, "patch_size": patch},
        projection_dim=embed,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number(seed, "tiny", "weights"))
        model = CLIPModel(config)
    with torch.no_grad():  # words that are heard above the branches, attention that begins to choose: both learn sooner
        for key, parameter in model.named_parameters():
            if key.endswith("token_embedding.weight"):
                parameter.mul_(15.0)
            elif key.endswith(("q_proj.weight", "k_proj.weight")):
                parameter.mul_(4.0)
            elif key.endswith(("out_proj.weight", "fc2.weight")):
                parameter.mul_(0.5)
    return model


def cropped_pictures(drawn: list[stills.Still], image: int) -> np.ndarray:
    """uint8 [N, 3, image, image]: short side to `image` (bicubic), centre crop, as CLIP sees a picture."""
    from PIL import Image

    out = np.empty((len(drawn), 3, image, image), np.uint8)
    for index, still in enumerate(drawn):
        picture = Image.fromarray(still.picture())
        wide = round(picture.width * image / picture.height)
        pixels = np.asarray(picture.resize((wide, image), Image.Resampling.BICUBIC))
        left = (wide - image) // 2
        out[index] = pixels[:, left : left + image].transpose(2, 0, 1)
    return out


def _fit(model, vocabulary, merges, seed, steps, batch, rates, pool, progress) -> dict:
    import torch
    from transformers import CLIPTokenizer

    from petvr.world.orthogonal import OrthogonalMomentum

    tokenizer = CLIPTokenizer(
        vocab=vocabulary, merges=merges, unk_token=bpe.END, bos_token=bpe.START, eos_token=bpe.END, pad_token=bpe.END
    )
    drawn: dict[int, stills.Still] = {}  # of the pool, as they are chosen: a short training sees few of it
    image = model.config.vision_config.image_size
    pictures = torch.empty(pool, 3, image, image, dtype=torch.uint8)
    mean = 255 * torch.tensor(MEAN).view(3, 1, 1)
    std = 255 * torch.tensor(STD).view(3, 1, 1)
    inner, outer, vectors = [], [], []
    for key, parameter in model.named_parameters():
        if key == "logit_scale":
            continue
        if parameter.ndim < 2:
            vectors.append(parameter)
        else:
            (inner if ".layers." in key or "patch_embedding" in key else outer).append(parameter)
    groups = [
        {"params": outer, "weight_decay": 0.05, "times": 1.0},
        {"params": vectors, "weight_decay": 0.0, "times": 1.0},
        {"params": [model.logit_scale], "weight_decay": 0.0, "times": 10.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rates[0], betas=(0.9, 0.98), eps=1e-6)
    layers = OrthogonalMomentum(inner)
    warm = max(1, steps // 10)
    rng, progress_line = generator(seed, "tiny", "batches"), ProgressLine("tiny CLIP", steps, progress)
    losses, hits, entropy = [], [], torch.nn.functional.cross_entropy
    model.train()
    for step in range(steps):
        rate = (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))
        for group in optimizer.param_groups:
            group["lr"] = rates[0] * group["times"] * max(rate, 0.01)
        chosen = rng.choice(pool, size=batch, replace=False).tolist()
        if new := [index for index in chosen if index not in drawn]:
            drawn |= {index: stills.sample_still(generator(seed, "still", index)) for index in new}
            pictures[new] = torch.from_numpy(cropped_pictures([drawn[index] for index in new], image))
        texts = [stills.caption_still(drawn[index], rng) for index in chosen]
        ids = torch.tensor(tokenizer(texts, padding=True)["input_ids"])
        pixels = (pictures[chosen].float() - mean) / std
        logits = model(input_ids=ids, pixel_values=pixels).logits_per_text
        right = torch.arange(batch)
        loss = (entropy(logits, right) + entropy(logits.T, right)) / 2
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        layers.step(rates[1] * max(rate, 0.01))
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        losses.append(loss.item())
        hits.append((logits.argmax(1) == right).float().mean().item())
        progress_line.step(f"loss {losses[-1]:.2f}")
    model.eval()
    last = max(1, steps // 10)
    return {"loss": round(float(np.mean(losses[-last:])), 4), "batch_R@1": round(100 * float(np.mean(hits[-last:])), 2)}
