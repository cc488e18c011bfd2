"""What every method adds to CLIP's forward pass, in closed form from its paper's shapes, against the counter.

Per (video, caption) with F frames of 1 + P tokens and W words; what is made once for a batch of two counts by half.
"""

import pytest
import torch

from petvr import methods
from petvr.clip.config import ClipConfig, Tower
from petvr.costs import compute, formula

torch.set_num_threads(1)
TINY = ClipConfig(Tower(32, 2, 4, 64), Tower(24, 2, 2, 48), image=16, patch=8, positions=24, vocab=60, eot=59, embed=16)
F, W, P, L, B = 3, 10, 4, 2, 2
S, D, T, E, M = 1 + P, 32, 24, 16, 64  # tokens of a frame, widths of vision and text, embedding, vision MLP


def longer(tower, rows, tokens, more, blocks=L):
    """A tower whose sequences are `more` tokens longer."""
    part = getattr(TINY, tower)
    return rows * blocks * (formula.block(part, tokens + more) - formula.block(part, tokens))


def prompts(vision, text):
    return longer("vision", F, S, vision) + longer("text", 1, W, text)


def bottleneck(r, places=1, tokens=(F * S, W)):
    """Down and up in every block of both towers: two products of D x r."""
    return L * places * (tokens[0] * 4 * D * r + tokens[1] * 4 * T * r)


def context():
    """VoP^C per block: a BiLSTM over F frames (eight D x D products each way) and a layer from 2 D to 4 D."""
    return L * F * (2 * 2 * 8 * D * D + 2 * 2 * D * 4 * D)


def joined(shallow, n):
    """VoP^F: below, frames with n prompts; above, one sequence of all frames and n prompts."""
    below = longer("vision", F, S, n, shallow)
    above = (L - shallow) * (formula.block(TINY.vision, F * S + n) - F * formula.block(TINY.vision, S))
    return below + above + longer("text", 1, W, n)


def lorm(r=3):
    """c_a c_b and s_a s_b for all widths of the vision tower, once for the batch."""
    widths = 3 * D + L * (6 * D + M + D)
    return 2 * 2 * F * r * widths / B


def asa(k=3, hidden=32):
    """The predictor on k patches of a frame; the sentence nearest to a video and its way back; P products a frame."""
    choice = 2 * D * E + 2 * E * B + 2 * E * D + F * P * 2 * D
    return L * (F * k * 2 * (D * hidden + hidden * 2) + choice)


def trm(tokens, d):
    """q, k, v, output, an MLP of four times the width, and attention."""
    return 2 * tokens * (4 * d * d + 8 * d * d) + 4 * tokens**2 * d


def mv_adapter(d=64, sigma=4, tied=2, dim=32):
    calibration = 2 * d * d + F * 2 * (2 * d * d // sigma + d // sigma * d)
    factors = tied * 2 * dim * (D + T) / B  # of both towers
    return bottleneck(d) + L * (trm(2 * F + 1, d) + calibration + trm(W, d)) + factors


def lora(r=8):
    return L * (F * S * 2 * r * (D + 3 * D) + W * 2 * r * (T + 3 * T))


def convpass(r=64, text=128):
    patches = L * 2 * (F * S * 4 * D * r + F * P * 2 * 9 * r)
    return patches + L * W * 4 * T * text


OWN = {
    "coop": ({"tokens": 4}, prompts(0, 4)),
    "vpt": ({"tokens": 4}, prompts(4, 0)),
    "vl_prompt": ({"tokens": 4}, prompts(4, 4)),
    "maple": ({"tokens": 4}, prompts(4, 4) + L * 2 * 4 * T * D / B),
    "vop": ({"tokens": 4}, prompts(4, 4)),
    "vop_p": ({}, prompts(8, 8)),
    "vop_c": ({}, prompts(8, 8) + context()),
    "vop_f": ({"shallow": 1}, joined(1, 8)),
    "ju": ({"prefix": 2, "postfix": 2}, prompts(0, 4)),
    "adapter_attn": ({"width": 8}, bottleneck(8)),
    "adapter_ffn": ({"width": 8}, bottleneck(8)),
    "adaptformer": ({}, bottleneck(128)),
    "cm_adapter": ({"ds": 6}, bottleneck(128)),
    "cross_modal_adapter": ({"r": 4, "ds": 6}, bottleneck(4, places=2)),
    "convpass": ({}, convpass()),
    "st_adapter": ({}, bottleneck(384, places=2, tokens=(F * P, 0))),
    "lora": ({}, lora()),
    "mv_adapter": ({}, mv_adapter()),
    "lorm": ({}, lorm()),
    "asa": ({}, asa()),
    "rap": ({}, lorm() + asa()),
}
# nothing of theirs is a product inside the towers
NOTHING = ["bias", "full", "partial", "proj", "ssf", "zero_shot"]
HEADS = ["clip2video", "hunyuan", "seq_transf", "ts2_net", "x_clip", "x_pool"]  # their similarity is counted apart


@pytest.fixture(scope="module")
def bare():
    return formula.pair(TINY, F, W) + 2 * B * E


@pytest.mark.slow
@pytest.mark.parametrize("method", methods.available())
def test_the_closed_form_is_what_the_counter_counts(method, bare):
    setting, own = OWN.get(method, ({}, 0))
    assert method in OWN or method in NOTHING + HEADS, "a new method brings its formula"
    found = compute.compute(TINY, method, setting, memory=False, frames=F, words=W)
    assert found.forward - bare == own
