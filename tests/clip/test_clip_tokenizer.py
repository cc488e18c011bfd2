import gzip
import html
import random

import ftfy
import pytest

from petvr.clip import tokenizer
from petvr.errors import PetvrError


@pytest.fixture(scope="session")
def folder(tmp_path_factory, real_files):
    out = tmp_path_factory.mktemp("vocabulary")
    tokenizer.from_bpe_file(real_files / "clip" / "bpe_simple_vocab_16e6.txt.gz", out)
    return out


@pytest.fixture(scope="session")
def real(folder):
    return tokenizer.load_tokenizer(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """256 byte symbols, the same at the end of a word, and two merges."""
    out = tmp_path_factory.mktemp("small")
    symbols = tokenizer.byte_symbols()
    merges = [("r", "e"), ("re", "d</w>")]
    names = [*symbols, *(symbol + "</w>" for symbol in symbols), "re", "red</w>", tokenizer.SOT, tokenizer.EOT]
    tokenizer.build_tokenizer({name: number for number, name in enumerate(names)}, merges, out)
    return tokenizer.load_tokenizer(out)


@pytest.mark.slow
def test_the_real_vocabulary_gives_clips_ids(real):
    assert (real.sot, real.eot) == (49406, 49407)
    assert real(["a photo of a cat"], 9).tolist() == [[49406, 320, 1125, 539, 320, 2368, 49407, 0, 0]]
    assert real(["  A PHOTO\tof a cat\n"], 7).tolist() == [[49406, 320, 1125, 539, 320, 2368, 49407]]


def test_the_real_vocabulary_agrees_with_transformers_on_awkward_text(real, folder):
    import json

    from transformers import CLIPTokenizer

    data = json.loads((folder / "tokenizer.json").read_text())["model"]
    theirs = CLIPTokenizer(vocab=data["vocab"], merges=[tuple(pair) for pair in data["merges"]])
    for text in ("it's o'clock, y'all don't!?", "$12.50 for 3 naïve Ω≈ç 日本語 users", "e-mail: x_y@z.org ... 😀"):
        assert real.tokens([text])[0] == theirs(tokenizer.clean(text))["input_ids"][1:-1], text


def test_plain_ascii_is_cleaned_as_everything_else_is():
    """It passes by ftfy, which finds nothing to mend there: every pair of printable characters but an entity's."""
    plain = [chr(code) for code in range(32, 127) if chr(code) != "&"]
    for first in plain:
        text = "".join(f" A{first}{second}b" for second in plain)
        assert tokenizer.clean(text) == " ".join(html.unescape(ftfy.fix_text(text)).split()).lower()


def test_cleaning_mends_encodings_entities_space_and_case():
    assert tokenizer.clean("  A  cafÃ© &amp;amp; “bar”\n&lt;b&gt; ") == 'a café & "bar" <b>'


def test_long_captions_are_cut_so_that_eot_always_fits(small):
    red, sot, eot = small.tokens(["red"])[0][0], small.sot, small.eot
    assert small(["red " * 9, "red", ""], 5).tolist() == [
        [sot, red, red, red, eot],
        [sot, red, eot, 0, 0],
        [sot, eot, 0, 0, 0],
    ]
    assert small(["red"], 5, pad=eot).tolist() == [[sot, red, eot, eot, eot]]
    with pytest.raises(PetvrError, match="words: 1"):
        small(["red"], 1)


def test_every_character_has_tokens_and_none_is_eot(small):
    for text in ("žluťoučký kůň", "日本語", "\x00\x7f", "😀" * 3, "a\u200bb"):
        assert small.eot not in small.tokens([text])[0]


def test_a_character_of_thousands_of_digits_is_none():
    assert tokenizer.clean(f"a&#{'9' * 5_000};b &#65; &amp;#66;") == "a\ufffdb a b"


def test_broken_vocabulary_files_are_named(tmp_path):
    whole = gzip.compress(random.Random("vocabulary").randbytes(5_000))
    for data in (b"no gzip", whole[:-3], whole[:2_000], whole[:1_000] + bytes(4_000), whole[:-4] + b"size"):
        (tmp_path / "bad.gz").write_bytes(data)
        with pytest.raises(PetvrError, match=r"bad\.gz: not readable"):
            tokenizer.from_bpe_file(tmp_path / "bad.gz", tmp_path)
    with pytest.raises(PetvrError, match=r"tokenizer\.json: no such file"):
        tokenizer.load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(PetvrError, match=r"tokenizer\.json: not readable"):
        tokenizer.load_tokenizer(tmp_path)
