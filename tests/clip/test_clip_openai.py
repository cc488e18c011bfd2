"""OpenAI's own files: read without running anything, into the same numbers."""

import gzip
import zipfile

import pytest
import torch
from torch import nn

from petvr.clip import tokenizer, weights
from petvr.errors import PetvrError

WIDTH, PATCH, SIDE, WORDS, VOCAB, EMBED = 64, 8, 2, 12, 514, 16


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = nn.MultiheadAttention(WIDTH, 1, batch_first=True)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(WIDTH, 2 * WIDTH))
        self.mlp.add_module("c_proj", nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x, mask):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        y = self.mlp.c_fc(self.ln_2(x))
        return x + self.mlp.c_proj(y * torch.sigmoid(1.702 * y))


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.resblocks = nn.ModuleList([Block(), Block()])

    def forward(self, x, mask):
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Visual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(WIDTH))
        self.positional_embedding = nn.Parameter(torch.randn(SIDE**2 + 1, WIDTH))
        self.ln_pre, self.ln_post = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.transformer = Tower()
        self.proj = nn.Parameter(torch.randn(WIDTH, EMBED))

    def forward(self, pixels):
        x = self.conv1(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1) + self.positional_embedding
        x = self.transformer(self.ln_pre(x), torch.zeros(SIDE**2 + 1, SIDE**2 + 1))
        return self.ln_post(x[:, 0]) @ self.proj


class OpenAI(nn.Module):
    """A small CLIP under OpenAI's names."""

    def __init__(self):
        super().__init__()
        self.visual, self.transformer = Visual(), Tower()
        self.token_embedding, self.ln_final = nn.Embedding(VOCAB, WIDTH), nn.LayerNorm(WIDTH)
        self.positional_embedding = nn.Parameter(torch.randn(WORDS, WIDTH))
        self.text_projection = nn.Parameter(torch.randn(WIDTH, EMBED))
        self.logit_scale = nn.Parameter(torch.tensor(2.5))
        self.register_buffer("input_resolution", torch.tensor(SIDE * PATCH))

    def forward(self, pixels, ids):
        x = self.token_embedding(ids) + self.positional_embedding
        x = self.ln_final(self.transformer(x, torch.full((WORDS, WORDS), -torch.inf).triu(1)))
        return self.visual(pixels), x[torch.arange(len(x)), ids.argmax(1)] @ self.text_projection


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return OpenAI().eval()


@pytest.fixture
def inputs():
    ids = torch.zeros(3, WORDS, dtype=torch.long)
    ids[:, :4] = torch.tensor(
        [[VOCAB - 2, 5, 60, VOCAB - 1], [VOCAB - 2, 9, 9, VOCAB - 1], [VOCAB - 2, 0, 1, VOCAB - 1]]
    )
    return torch.randn(3, 3, SIDE * PATCH, SIDE * PATCH, generator=torch.Generator().manual_seed(1)), ids


@pytest.fixture
def beside(tmp_path):
    """A folder with a tokenizer, into which a file is written."""
    symbols = tokenizer.byte_symbols()
    names = [*symbols, *(symbol + "</w>" for symbol in symbols), tokenizer.SOT, tokenizer.EOT]
    tokenizer.build_tokenizer({name: number for number, name in enumerate(names)}, [], tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("form", ["archive", "state dict", "training"])
def test_the_features_are_those_of_the_file(model, inputs, beside, form):
    path = beside / "ViT-B-32.pt"
    if form == "archive":
        torch.jit.trace(model, inputs).save(path)
    elif form == "state dict":
        torch.save(model.state_dict(), path)
    else:
        torch.save(
            {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}, path
        )
    config = weights.fetch(str(path), beside / "out")
    assert (config.image, config.patch, config.vision.layers, config.text.heads, config.eot) == (16, 8, 2, 1, VOCAB - 1)
    clip = weights.load_clip(beside / "out").eval()
    with torch.no_grad():
        frames, texts = model(*inputs)
        torch.testing.assert_close(clip.encode_frames(inputs[0][:, None])[:, 0], frames, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(clip.encode_texts(inputs[1]), texts, atol=1e-4, rtol=1e-4)
    assert clip.logit_scale.item() == 2.5


def test_a_file_without_a_vocabulary_beside_it_says_which_to_put_there(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "x.pt")
    with pytest.raises(PetvrError, match=r"put bpe_simple_vocab_16e6\.txt\.gz of github\.com/openai/CLIP beside it"):
        weights.fetch(str(tmp_path / "x.pt"), tmp_path / "out")
    (tmp_path / weights.BPE_FILE).write_bytes(gzip.compress(b"#version: 0.2\n"))
    with pytest.raises(PetvrError, match="not OpenAI's BPE file"):
        weights.fetch(str(tmp_path / "x.pt"), tmp_path / "out")


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_a_file_holds_is_run(model, inputs, beside):
    import pickle

    path, trap = beside / "x.pt", beside / "trap"
    torch.save({"visual.proj": Trap(trap)}, path)
    with pytest.raises(PetvrError, match=r"x\.pt: not readable as one of OpenAI's files"):
        weights.fetch(str(path), beside / "out")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/constants.pkl", b"")
        archive.writestr("x/data.pkl", pickle.dumps(Trap(trap)))
    with pytest.raises(PetvrError, match=r"names (io|_io)\.open, which is no tensor; allowed: their \.pt files"):
        weights.fetch(str(path), beside / "out")
    assert not trap.exists()


def test_what_is_no_clip_with_a_vit_is_named(model, beside):
    path, state = beside / "x.pt", model.state_dict()
    for change, message in (
        ({"visual.layer1.0.conv1.weight": torch.zeros(1)}, "a CLIP with a ResNet"),
        ({"surplus": torch.zeros(1)}, "'surplus' is not one of them"),
        ({"visual.transformer.resblocks.0.attn.weight": torch.zeros(1)}, r"attn\.weight' is not one of them"),
        ({"text_projection": torch.full((WIDTH, EMBED), torch.nan)}, r"'text_projection\.weight' holds NaN"),
    ):
        torch.save(state | change, path)
        with pytest.raises(PetvrError, match=message):
            weights.fetch(str(path), beside / "out")
    torch.save({key: value for key, value in state.items() if key != "ln_final.bias"}, path)
    with pytest.raises(PetvrError, match=r"'text_model\.final_layer_norm\.bias'"):
        weights.fetch(str(path), beside / "out")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(PetvrError, match="not readable as one of OpenAI's files"):
        weights.fetch(str(path), beside / "out")
