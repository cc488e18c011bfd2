"""A byte-level BPE of the world's own words, in the file format and with the conventions of CLIP's tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from petvr.atomic import write_json, write_text

START, END = "<|startoftext|>", "<|endoftext|>"
CONTEXT = 77


def learn_bpe(sentences: Iterable[str], merges: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and at most `merges` merges.

    Ids as in CLIP: the 256 bytes, the 256 bytes that end a word, one symbol per merge, start, end. All 512 must be
    there: an unknown symbol becomes the end token, and the text would be read at the wrong place.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    alphabet = byte_symbols()
    ends = [symbol + "</w>" for symbol in alphabet]
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(alphabet) + merges,
        initial_alphabet=alphabet,
        special_tokens=ends,  # pairs of equal count are merged by number, which these would otherwise get by chance
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    learned = [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    symbols = [*alphabet, *ends]
    symbols += [left + right for left, right in learned]
    symbols += [START, END]
    return {symbol: number for number, symbol in enumerate(dict.fromkeys(symbols))}, learned


def byte_symbols() -> list[str]:
    """The printable character that stands for each byte in byte-level BPE, printable bytes first as in CLIP's table."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + number) for number in range(len(others))]


def save_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]], out: Path) -> None:
    """vocab.json, merges.txt, tokenizer.json, tokenizer_config.json: what `CLIPTokenizer.from_pretrained` reads."""
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,  # type: ignore[arg-type]  # annotated as lines of text; the tokenizer takes pairs
        unk_token=END,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        model_max_length=CONTEXT,
    )
    tokenizer.save_pretrained(out)
    write_json(out / "vocab.json", vocabulary)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    write_text(out / "merges.txt", "\n".join(lines) + "\n")
