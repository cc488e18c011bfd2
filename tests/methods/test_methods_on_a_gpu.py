"""What a GPU would refuse or wait for, found without one: a training step and a scoring of each kind of method.

On torch's meta device a value that the host asks for, and a tensor on another device, are errors. CUDA's autocast rules
are played on the CPU, whose own are others: there LayerNorm and softmax of bf16, and sums, stay bf16.
"""

import contextlib
from types import SimpleNamespace

import pytest
import torch
from test_contract import FRAMES, GEOMETRIES, KINDS, TINY, WORDS, Case, fitted, plain
from torch.overrides import TorchFunctionMode

import petvr.training.run as training
from petvr import methods
from petvr.clip import weights
from petvr.clip.weights import SkipMetaInit
from petvr.costs import compute
from petvr.similarity import available, build_similarity
from petvr.training.checkpoint import TrainState
from petvr.training.model import BatchTensors, Model
from petvr.training.optimizer import build_optimizer, parameter_groups

B, SMALL = 3, "two blocks"
RECIPE = SimpleNamespace(
    optimizer="bert_adam", lr_clip=1e-3, lr_new=1e-3, lr_head=1e-3, weight_decay=0.2, no_decay="bias",
    betas=(0.9, 0.98), eps=1e-6, warmup=0.1, schedule="warmup_cosine", clip_global=1.0, clip_tensor=0.5,
    logit_scale_max=100.0,
)  # fmt: skip
SPEC = SimpleNamespace(seed=0, recipe=RECIPE)
ALONE = sorted(set(available()) - {methods.similarity_of(case.method) for case in KINDS})  # no method asks for these
WORK = [(case, methods.similarity_of(case.method) or "mean_pool") for case in KINDS]
WORK += [(Case("full"), name) for name in ALONE if name != "mean_pool"]
each = pytest.mark.parametrize(("case", "similarity"), WORK, ids=lambda value: str(value))


def built(case, similarity, clip, mode="fp32"):
    generator = torch.Generator().manual_seed(0)
    adapted = methods.adapt(clip, case.method, fitted(case, SMALL), frames=FRAMES, words=WORDS, generator=generator)
    clip.logit_scale.requires_grad_(True)
    with clip.logit_scale.device:
        head = build_similarity(similarity, {}, TINY.embed, generator, clip=clip, frames=FRAMES, words=WORDS)
    return Model(adapted, head, mode=mode)


def given(device, ragged):
    """Uint8 pixels as a store gives them, texts of several lengths, and a mask on the CPU."""
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (B, FRAMES, 3, TINY.image, TINY.image), generator=generator).to(torch.uint8)
    mask = torch.ones(B, FRAMES, dtype=torch.bool)
    mask[1, 2:] = not ragged
    ids = torch.randint(1, 40, (B, WORDS), generator=generator)
    for row, length in enumerate((4, 9, WORDS)):
        ids[row, 0], ids[row, length - 1], ids[row, length:] = TINY.eot - 1, TINY.eot, 0
    return BatchTensors(ids.to(device), pixels.to(device), mask, None)


@each
def test_nothing_waits_for_the_device_and_nothing_lies_on_another(case, similarity, monkeypatch):
    monkeypatch.setattr(training, "seed_torch", lambda *names: None)
    with SkipMetaInit():
        model = built(case, similarity, weights.on_meta(GEOMETRIES[SMALL]))
    optimizer = build_optimizer(parameter_groups(model.trained, RECIPE), RECIPE, 10)
    data = SimpleNamespace(at=lambda step, device: given(device, ragged=True))
    with compute.uncast():  # autocast knows no meta device
        state = TrainState(model, optimizer)
        training.train_step(SPEC, state, data, None)
        assert state.loss_sum.is_meta and all(parameter.grad is not None for parameter in optimizer.parameters)
        model.set_training(False)
        model.similarity.PADDED = ()  # blocks of texts of like length are laid out by the host, once for all of them
        with torch.inference_mode():
            batch = given("meta", ragged=False)
            texts = model.encode_texts(batch.ids)
            assert model.scores(texts, model.encode_videos(batch.pixels, batch.mask, texts["text"])).shape == (B, B)


@each
@pytest.mark.parametrize("ragged", [False, True])
def test_under_cudas_rules_loss_and_gradients_are_finite_fp32_and_repeatable(case, similarity, ragged, monkeypatch):
    model, batch = built(case, similarity, plain(SMALL), "bf16"), given("cpu", ragged)
    model.set_training(True)
    with CudaAutocast(monkeypatch) as rules:
        loss = model.loss(batch)
    assert rules.lowered > 20 and loss.dtype == torch.float32 and loss.isfinite()
    loss.backward()
    for name, (parameter, _) in model.trained.items():
        assert parameter.grad.dtype == torch.float32 and parameter.grad.isfinite().all(), name


# torch's documentation of autocast on CUDA, "CUDA Op-Specific Behavior"; by the names Python calls them with
LOWERED = {
    "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "addmm", "addmv", "addbmm", "baddbmm", "addr",
    "linear", "conv1d", "conv2d", "conv3d", "prelu", "einsum", "scaled_dot_product_attention",
}  # fmt: skip
RAISED = {
    "__pow__", "__rpow__", "__rdiv__", "__rtruediv__", "pow", "exp", "expm1", "log", "log2", "log10", "log1p", "rsqrt",
    "reciprocal", "softmax", "log_softmax", "softmin", "softplus", "layer_norm", "group_norm", "norm", "normalize",
    "vector_norm", "sum", "prod", "cumsum", "cumprod", "cosine_similarity", "cross_entropy", "nll_loss", "cdist",
}  # fmt: skip
# and of torch.use_deterministic_algorithms: what raises on CUDA (some only where they pass a gradient on)
REFUSED = {
    "put_", "scatter_reduce", "histc", "bincount", "kthvalue", "median", "ctc_loss", "embedding_bag", "interpolate",
    "grid_sample", "max_unpool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "max_pool3d",
}  # fmt: skip
WIDEST = {"cat", "stack", "addcmul", "addcdiv", "index_put", "scatter_add", "tensordot", "dot", "cross", "grid_sample"}


class CudaAutocast(TorchFunctionMode):
    """Within torch.autocast(..., dtype=bf16) functions cast as they do on CUDA; `lowered` counts those in bf16."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.dtype, self.lowered = None, 0
        monkeypatch.setattr(torch, "autocast", self.autocast)

    @contextlib.contextmanager
    def autocast(self, device_type, dtype=None, enabled=True):
        before, self.dtype = self.dtype, dtype if enabled else None
        try:
            yield
        finally:
            self.dtype = before

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(function, "__name__", "")
        assert name not in REFUSED and (name not in ("cumsum", "cumprod") or not args[0].is_floating_point())
        if self.dtype is None or name not in LOWERED | RAISED | WIDEST:
            return function(*args, **kwargs)
        wanted = self.dtype if name in LOWERED else torch.float32
        if name in WIDEST and torch.float32 not in set(dtypes((args, kwargs))):
            return function(*args, **kwargs)
        self.lowered += name in LOWERED
        return function(*cast(args, wanted), **cast(kwargs, wanted))


def cast(value, dtype):
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, list | tuple):
        return type(value)(cast(part, dtype) for part in value)
    return {key: cast(part, dtype) for key, part in value.items()} if isinstance(value, dict) else value


def dtypes(value):
    if isinstance(value, torch.Tensor):
        return [value.dtype]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [dtype for part in parts for dtype in dtypes(part)]
