"""What a step gives back is not asked of the kernel again (petvr.training.determinism)."""

import platform
import subprocess
import sys

import pytest

CHILD = """
import resource, sys, torch
from petvr.training.determinism import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory(torch.device("cpu"))
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(2**26).find(1)  # made, read and given back
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults(), faults())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what is set is glibc's")
def test_a_block_larger_than_32_mib_is_new_to_the_kernel_once():
    def faults(how):
        done = subprocess.run([sys.executable, "-c", CHILD, how], capture_output=True, text=True, check=True)
        return [int(word) for word in done.stdout.split()]

    asked, kept = faults("asked"), faults("kept")
    assert kept[1] * 10 < min(kept[0], *asked)
