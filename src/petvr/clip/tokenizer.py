"""CLIP's text side: cleaning, byte-level BPE, where a text ends, and how long ones are cut [Radford et al. 2021].

The vocabulary is the `tokenizer.json` of a weights folder, run by `tokenizers`.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from petvr import atomic
from petvr.clip.config import read_config
from petvr.errors import PetvrError

if TYPE_CHECKING:
    from torch import Tensor

SOT, EOT = "<|startoftext|>", "<|endoftext|>"
WORD = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # what CLIP counts as one word
ENDLESS = re.compile(r"&#[0-9]{1000,};?")  # no character, and more digits than Python turns into a number
MERGES = 49152 - 256 - 2  # of the 262,144 lines OpenAI's file holds, CLIP uses the first


def clean(text: str) -> str:
    """Broken encodings mended, HTML entities undone (twice), white space folded, lower case."""
    if text.isascii() and text.isprintable() and "&" not in text:  # nearly all captions: nothing in them to mend
        return " ".join(text.split()).lower()
    import ftfy

    return " ".join(_unescape(_unescape(ftfy.fix_text(text))).split()).lower()


def _unescape(text: str) -> str:
    return html.unescape(ENDLESS.sub("\ufffd", text))


class Tokenizer:
    """Captions to ids. Made by `load_tokenizer`."""

    def __init__(self, inner, where: str):
        self._inner = inner
        self.sot, self.eot = (inner.token_to_id(token) for token in (SOT, EOT))
        if self.sot is None or self.eot is None:
            raise PetvrError(f"{where}: holds no {SOT if self.sot is None else EOT}, so it is not CLIP's tokenizer")

    def digest(self) -> str:
        """Changes with the vocabulary or the merges, not with how they are written."""
        model = json.loads(self._inner.to_str())["model"]
        text = json.dumps([sorted(model["vocab"].items()), [str(pair) for pair in model["merges"]]])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """BPE ids without SOT and EOT, uncut."""
        encoded = self._inner.encode_batch([clean(text) for text in texts], add_special_tokens=False)
        return [part.ids for part in encoded]

    def __call__(self, texts: Sequence[str], words: int, pad: int = 0) -> Tensor:
        """int64 [B, words]: SOT, at most words - 2 tokens, EOT (never cut away), then `pad`.

        OpenAI pads with 0 and the hub's files with EOT; the text feature is the same, it is read at the first EOT.
        """
        import torch

        if words < 2:
            raise PetvrError(f"words: {words} given, allowed: 2 or more (SOT and EOT)")
        ids = [[self.sot, *tokens[: words - 2], self.eot] for tokens in self.tokens(texts)]
        padded = [line + [pad] * (words - len(line)) for line in ids]
        return torch.tensor(padded, dtype=torch.int64).view(len(padded), words)


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """From a weights folder; PetvrError if it has no tokenizer.json or that is not its CLIP's."""
    from tokenizers import Tokenizer as Inner

    path = Path(folder) / "tokenizer.json"
    if not path.exists():
        raise PetvrError(f"{path}: no such file; a weights folder holds its tokenizer")
    try:
        inner = Inner.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise PetvrError(f"{path}: not readable as a tokenizer: {error}") from error
    inner.no_padding()
    inner.no_truncation()
    tokenizer = Tokenizer(inner, str(path))
    _require_whole(inner, path)
    if (path.parent / "config.json").exists():
        config = read_config(path.parent)
        for what, own, other in (
            ("entries", inner.get_vocab_size(), config.vocab),
            ("as EOT", tokenizer.eot, config.eot),
        ):
            if own != other:
                raise PetvrError(f"{path}: {own} {what}, config.json says {other}: the tokenizer of another model")
    return tokenizer


def _require_whole(inner, path: Path) -> None:
    """All entries but bytes, bytes that end a word, SOT and EOT come from merges; without those, words are spelt. And
    a sentence is cut as CLIP cuts it."""
    model = json.loads(inner.to_str())["model"]
    vocabulary, merges = model.get("vocab", ()), model.get("merges", ())
    if model.get("type") != "BPE" or len(vocabulary) > len(merges) + 2 * 256 + 2:
        raise PetvrError(f"{path}: {len(merges)} merges for {len(vocabulary)} entries: not CLIP's kind of tokenizer")
    sample, cut = "a dog's café, 12", ["a", "dog", "'s", "cafÃ©", ",", "1", "2"]
    if inner.normalizer is not None and inner.normalizer.normalize_str(sample) != sample:
        raise PetvrError(f'{path}: changes "{sample}", which CLIP reads as it is: not CLIP\'s normalizer')
    pieces = [piece for piece, _ in inner.pre_tokenizer.pre_tokenize_str(sample)] if inner.pre_tokenizer else [sample]
    if pieces != cut:
        raise PetvrError(f'{path}: cuts "{sample}" into {pieces}, CLIP into {cut}: not CLIP\'s pre-tokenizer')


def from_bpe_file(path: str | Path, out: str | Path) -> None:
    """Write `tokenizer.json` into `out` from OpenAI's bpe_simple_vocab_16e6.txt.gz (49,408 entries)."""
    path = Path(path)
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise PetvrError(f"{path}: not readable as a gzipped BPE file: {error}") from error
    merges = [tuple(line.split()) for line in lines[1 : MERGES + 1]]
    if len(merges) < MERGES or any(len(pair) != 2 for pair in merges):
        raise PetvrError(
            f"{path}: not OpenAI's BPE file: {MERGES} merges of two symbols are expected after its first line"
        )
    symbols = byte_symbols()
    names = [*symbols, *(symbol + "</w>" for symbol in symbols), *("".join(pair) for pair in merges), SOT, EOT]
    build_tokenizer({name: number for number, name in enumerate(names)}, merges, out)


def build_tokenizer(vocabulary: dict[str, int], merges: Sequence[tuple[str, str]], out: str | Path) -> None:
    """Write `tokenizer.json` with CLIP's word pattern and byte symbols into the folder `out`."""
    from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Inner

    model = models.BPE(vocabulary, list(merges), end_of_word_suffix="</w>", fuse_unk=False, unk_token=EOT)
    inner = Inner(model)
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in (SOT, EOT)])
    atomic.write_text(Path(out) / "tokenizer.json", json.dumps(json.loads(inner.to_str()), ensure_ascii=False))


def byte_symbols() -> list[str]:
    """The 256 printable stand-ins of bytes, in the order in which CLIP numbers them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]


def fit(ids: Tensor, length: int, eot: int) -> Tensor:
    """ids [B, W] in at most `length` columns; a text that loses its EOT by that gets it in the last one."""
    import torch

    if ids.shape[1] <= length:
        return ids
    kept = ids[:, :length]
    last = torch.where((kept == eot).any(dim=1), kept[:, -1], torch.full_like(kept[:, -1], eot))
    return torch.cat([kept[:, :-1], last[:, None]], dim=1)
