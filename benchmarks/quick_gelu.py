"""QuickGELU, forward and backward: the towers' two element-wise passes against one kernel each through torch.compile.

    python benchmarks/quick_gelu.py                    on this processor: 1,200 x 3,072 in fp32
    python benchmarks/quick_gelu.py --device cuda      a batch of 128 x 12 frames of ViT-B/32 in bf16: 76,800 x 3,072

Both take turns in one process; times are medians, errors are the largest of output and gradient against float64. The
last line is the verdict: one kernel is worth its start-up where it takes at most 0.8 of the time at no larger errors.
`compile: true` in the configuration has that kernel inside of the compiled blocks. Not yet run on a GPU.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from petvr.clip.compiled import check_compiler
from petvr.clip.towers import quick_gelu
from petvr.errors import PetvrError

WORTH = 0.8


def plain(x: Tensor) -> Tensor:
    """The formula, which a compiler fuses: it needs no gradient written by hand."""
    return x * torch.sigmoid(1.702 * x)


def both_ways(act: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    out = act(x)
    out.backward(grad)
    return out.detach(), x.grad


def error(act: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> float:
    """The largest difference to float64, as a share of the largest value there."""
    exact = both_ways(plain, x.double(), grad.double())
    pairs = zip(both_ways(act, x, grad), exact, strict=True)
    return max(float((one.double() - true).abs().max() / true.abs().max()) for one, true in pairs)


def timed(work: Callable[[], object], cuda: bool, times: int) -> float:
    clock = time.perf_counter if cuda else time.process_time
    start = clock()
    for _ in range(times):
        work()
    if cuda:
        torch.cuda.synchronize()
    return (clock() - start) / times


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rows", type=int, help="default 1,200; 76,800 on cuda")
    parser.add_argument("--width", type=int, default=3072)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args(given)
    cuda = args.device == "cuda"
    try:
        if cuda and not torch.cuda.is_available():
            raise PetvrError("--device cuda: no such device here; allowed: cpu")
        check_compiler(torch.device(args.device))
    except PetvrError as refused:
        sys.exit(f"petvr: error: {refused}")
    torch.set_num_threads(1)
    rows, kind = args.rows or (76_800 if cuda else 1_200), torch.bfloat16 if cuda else torch.float32
    x, grad = (torch.randn(rows, args.width, device=args.device).mul_(2).to(kind) for _ in range(2))
    start = time.perf_counter()
    ways = {"two passes": quick_gelu, "one kernel": torch.compile(plain, fullgraph=True, dynamic=False)}
    errors = {name: error(act, x, grad) for name, act in ways.items()}
    print(f"{rows} x {args.width}, {kind}, {args.device}; compiled in {time.perf_counter() - start:.1f} s")
    turns: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeats):
        for name, act in ways.items():
            turns[name].append(timed(lambda act=act: both_ways(act, x, grad), cuda, 20 if cuda else 2))
    for name, seconds in turns.items():
        print(f"{name}: {statistics.median(seconds) * 1e3:.3f} ms, error {errors[name]:.2e}")
    pairs = zip(turns["one kernel"], turns["two passes"], strict=True)
    ratio = statistics.median(one / two for one, two in pairs)
    worth = ratio <= WORTH and errors["one kernel"] <= 1.1 * errors["two passes"]
    print(f"one kernel takes {ratio:.2f} of the time: {'worth it' if worth else 'not worth it'} here")


if __name__ == "__main__":
    main()
