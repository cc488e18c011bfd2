"""Whether a weights folder holds what OpenAI published: digests of their files, numbers that a random or damaged file
misses, and a tokenizer that gives the known ids."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

from petvr import atomic
from petvr.clip import tokenizer
from petvr.clip import weights as clip_weights
from petvr.clip.config import GEOMETRIES
from petvr.errors import PetvrError
from petvr.rehearsal.parts import Part

# sha256 of OpenAI's files, which is also in their addresses
OPENAI = {
    "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af": "vit-b-32",
    "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f": "vit-b-16",
    "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836": "vit-l-14",
}
# counted on OpenAI's bpe_simple_vocab_16e6.txt.gz: plain words, an apostrophe, digits, letters beyond ASCII
KNOWN_IDS = {
    "a photo of a cat": [320, 1125, 539, 320, 2368],
    "A man isn't playing the guitar!": [320, 786, 2923, 713, 1629, 518, 5084, 256],
    "two women are cooking 15 dumplings": [1237, 1507, 631, 6283, 272, 276, 35495],
    "a café in Zürich": [320, 15304, 530, 89, 6522, 4021],
}
SCALE, NEAR = 100.0, 0.5  # exp(logit_scale) of all that OpenAI published: training clamps it there; fp16 rounds it
SENTENCE = "a red square on a white ground"
SHOWN = 8  # numbers of a feature that the report keeps
BRING = "delete the folder and bring the weights again: petvr weights {}"


def check_weights(part: Part, backbone: str, folder: Path, source: str | None, world_seed: int | None) -> None:
    """source: what the configuration names as the backbone's weights; world_seed: of the demo's own tiny CLIP."""
    remedy = BRING.format(backbone)
    if not folder.is_dir():
        part.add("are the weights here?", False, f"{folder}: not brought yet", f"petvr weights {backbone}")
        return
    if source is not None and source.endswith(".pt") and Path(source).is_file():
        _check_published_file(part, backbone, Path(source))
    try:
        clip_weights.check_weights(folder, GEOMETRIES.get(backbone))
        part.facts["digest"] = clip_weights.digest(folder, whole=True)
    except PetvrError as error:
        part.add("are they whole, finite, of this backbone's geometry?", False, str(error), remedy)
    else:
        part.add("are they whole, finite, of this backbone's geometry?", True, f"digest {part.facts['digest']}")
    known = KNOWN_IDS if world_seed is None else world_ids(world_seed)
    try:
        _check_tokenizer(part, folder, known, remedy)
        clip = clip_weights.load_clip(folder)
    except PetvrError as error:
        part.add("can they be read?", False, str(error), remedy)
        return
    never = [name for name, one in clip.named_parameters() if one.numel() > 1 and bool((one == one.flatten()[0]).all())]
    says = (
        f"{len(never)} tensors hold one value everywhere, the first is '{never[0]}'" if never else "no tensor is flat"
    )
    part.add("were they trained, and is no tensor blank?", not never, says, remedy)
    scale = float(clip.logit_scale.detach().exp())
    part.facts["exp(logit_scale)"] = round(scale, 3)
    if world_seed is None:
        good = math.isclose(scale, SCALE, abs_tol=NEAR)
        part.add("is exp(logit_scale) that of OpenAI's training?", good, f"{scale:.2f}, expected {SCALE:g}", remedy)
    part.facts |= made_features(clip, folder)


def _check_published_file(part: Part, backbone: str, path: Path) -> None:
    digest = atomic.file_sha256(path)
    whose = OPENAI.get(digest, "")
    says = f"{path.name}: sha256 {digest[:16]}... is OpenAI's {whose}" if whose else (
        f"{path.name}: sha256 {digest} is none of OpenAI's: fine-tuned, converted or damaged"
    )  # fmt: skip
    expected = next((key for key, name in OPENAI.items() if name == backbone), "")
    good = None if backbone not in OPENAI.values() or "336" in path.name else whose == backbone
    part.add("is it the file that OpenAI published?", good, says, f"name the file whose sha256 is {expected}")


def _check_tokenizer(part: Part, folder: Path, known: dict[str, list[int]], remedy: str) -> None:
    tokens = dict(zip(known, tokenizer.load_tokenizer(folder).tokens(list(known)), strict=True))
    wrong = [sentence for sentence, ids in known.items() if tokens[sentence] != ids]
    says = f"{len(known)} sentences as they should be"
    if wrong:
        says = f"another tokenizer: '{wrong[0]}' becomes {tokens[wrong[0]]}, should be {known[wrong[0]]}"
    part.add("does the tokenizer give the known ids?", not wrong, says, remedy)


@functools.cache
def world_ids(seed: int) -> dict[str, list[int]]:
    """Of the demo's world, whose tokenizer is learned from its sentences alone: the same on every machine."""
    import tempfile

    from petvr.world import bpe, tiny_clip

    sentences = tiny_clip.corpus(seed)
    vocabulary, merges = bpe.learn_bpe(sentences, merges=600)
    with tempfile.TemporaryDirectory() as folder:
        bpe.save_tokenizer(vocabulary, merges, Path(folder))
        chosen = [*dict.fromkeys(sentences)][:: max(1, len(sentences) // 40)]
        return dict(zip(chosen, tokenizer.load_tokenizer(folder).tokens(chosen), strict=True))


def made_features(clip: Any, folder: Path) -> dict[str, Any]:
    """The beginnings of what both towers give for a picture drawn here and a sentence, and their cosine: two
    installations with the same weights agree in them to about 1e-4."""
    import numpy as np
    import torch
    from torch.nn import functional

    size = clip.config.image
    pixels = np.full((3, size, size), 255, np.uint8)
    pixels[:, size // 4 : -size // 4, size // 4 : -size // 4] = np.array([220, 30, 30], np.uint8)[:, None, None]
    ids = tokenizer.load_tokenizer(folder)([SENTENCE], clip.config.positions)
    with torch.inference_mode():
        picture = clip.encode_frames(clip.normalise(torch.from_numpy(pixels)[None, None]))[0, 0]
        sentence = clip.encode_texts(ids)[0]
    cosine = float(functional.cosine_similarity(picture, sentence, dim=0))
    rounded = {
        name: [round(float(number), 4) for number in feature[:SHOWN]]
        for name, feature in (("picture", picture), ("sentence", sentence))
    }
    return {"features": rounded | {"cosine": round(cosine, 4)}}
