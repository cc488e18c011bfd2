"""Which operations run in a forward pass, and how often: no work frame by frame, no copies that are not needed."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from petvr import methods
from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower
from petvr.costs import compute
from petvr.training.model import Model
from petvr.training.optimizer import BertAdam, parameter_groups

torch.set_num_threads(1)
TINY = ClipConfig(Tower(32, 4, 4, 64), Tower(24, 4, 2, 48), image=16, patch=8, positions=24, vocab=60, eot=59, embed=16)
FRAMES, WORDS, PATCHES = 4, 10, 4
MOST = 8  # frames that models are made for
SETTINGS = {
    "cross_modal_adapter": {"r": 4, "ds": 6},
    "cm_adapter": {"ds": 6},
    "coop": {"tokens": 4},
    "vl_prompt": {"tokens": 4},
    "maple": {"tokens": 4},
    "ju": {"prefix": 2, "postfix": 2},
    "vop_f": {"shallow": 2},
    "vop_f+vop_p": {"shallow": 2},
    "vop_f+vop_c": {"shallow": 2},
}


class Calls(TorchFunctionMode):
    """Every function of torch that is called from Python, with its arguments and what it gave."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.seen.append(SimpleNamespace(function=function, args=args, kwargs=kwargs or {}, out=out))
        return out

    def of(self, *functions):
        return [call for call in self.seen if call.function in functions]


def called(method, setting=None, videos=2, frames=FRAMES):
    """The calls of one forward pass with scores."""
    setting = SETTINGS.get(method, {}) if setting is None else setting
    needed = methods.similarity_of(method) or "mean_pool"
    adapted, head = compute.build_model(
        weights.random(TINY, 0), method, setting, similarity=needed, frames=MOST, words=WORDS
    )
    given = compute.inputs(TINY, frames, WORDS, videos)
    with Calls() as calls:
        compute.scores(adapted, head, *given)
    return calls


@pytest.mark.parametrize(
    "method", [*methods.available(), "vop_f+vop_p", "vop_f+vop_c", "x_pool+vop", "x_clip+lorm+asa"]
)
def test_twice_the_frames_and_more_videos_are_no_more_calls(method):
    """A loop over frames, videos or texts in Python would make more."""
    few, many = called(method, videos=2), called(method, videos=5, frames=MOST)
    assert len(few.seen) == len(many.seen) > 0


def test_joined_frames_attend_through_the_fused_kernel_alone():
    """VoP^F: two blocks frame by frame, two over all F (1 + P) tokens and the prompts; nothing forms a softmax."""
    calls = called("vop_f", {"shallow": 2, "tokens": 3}, videos=2)
    keys = [tuple(call.args[1].shape) for call in calls.of(functional.scaled_dot_product_attention)]
    alone, joined = (8, 4, 1 + 3 + PATCHES, 8), (2, 4, FRAMES * (1 + PATCHES) + 3, 8)
    assert [shape for shape in keys if shape[0] in (8, 2) and shape[1] == 4] == [alone, alone, joined, joined]
    assert not calls.of(torch.softmax, torch.Tensor.softmax, functional.softmax, torch.bmm)


@pytest.mark.parametrize(
    ("method", "vision", "text"),
    [("vop", 4, 4), ("vop_p", 4, 4), ("vpt", 4, 0), ("coop", 0, 1), ("vl_prompt", 4, 4), ("maple", 4, 4)],
)
def test_prompts_copy_the_sequence_once_a_block(method, vision, text):
    """Besides the one copy in which CLIP itself puts CLS before the patches."""
    setting = {"tokens": 4, "specific": 2} if method == "vop_p" else {"tokens": 4}
    wide = [tuple(call.out.shape) for call in called(method, setting).of(torch.cat) if call.out.dim() == 3]
    assert sum(shape[1] > PATCHES and shape[2] == 32 for shape in wide) == vision + 1
    assert sum(shape[1] >= WORDS and shape[2] == 24 for shape in wide) == text


def test_raps_selection_gathers_k_keys_and_values_and_writes_k():
    """Per block, k and v each: two patches by two times by two places of a frame are read, k of a frame written."""
    calls = called("rap", {"k": 2})
    rows, places = 2 * FRAMES, 2 * 2
    read = [
        tuple(call.out.shape) for call in calls.of(torch.Tensor.__getitem__) if isinstance(call.args[1], torch.Tensor)
    ]
    assert [shape for shape in read if shape[0] == places and len(shape) == 3] == [(places, rows * 2, 32)] * (4 * 2)
    written = calls.of(torch.Tensor.index_copy)
    assert [tuple(call.args[3].shape) for call in written] == [(rows * 2, 32)] * (4 * 2)


@pytest.mark.parametrize("method", ["vop", "rap", "mv_adapter", "cross_modal_adapter", "lora", "x_pool"])
def test_what_is_frozen_has_no_state_in_the_optimiser(method):
    needed = methods.similarity_of(method) or "mean_pool"
    made = {"similarity": needed, "frames": FRAMES, "words": WORDS}
    model = Model(*compute.build_model(weights.random(TINY, 0), method, SETTINGS.get(method, {}), **made))
    rates = SimpleNamespace(lr_clip=1e-7, lr_new=1e-4, lr_head=1e-5, weight_decay=0.2, no_decay="none")
    state = BertAdam(parameter_groups(model.trained, rates), betas=(0.9, 0.98), eps=1e-6, factor=lambda k: 1.0)
    tensors = [part for module in (model.adapted, model.similarity) for part in module.parameters()]
    trained = sum(part.numel() for part in tensors if part.requires_grad)
    assert sum(moment.numel() for held in (state.m, state.v) for moment in held.values()) == 2 * trained
    assert 0 < trained < sum(part.numel() for part in tensors)
