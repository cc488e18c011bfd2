"""What a whole batch keeps, from three small ones: against a count at another size, and against what each head adds."""

import pytest

from petvr.clip.config import ClipConfig, Tower
from petvr.costs import batch, compute

TINY = ClipConfig(Tower(32, 2, 4, 64), Tower(24, 2, 2, 48), image=16, patch=8, positions=24, vocab=60, eot=59, embed=16)
CASES = [
    ("full", "mean_pool", {}),
    ("full", "query_aware", {}),
    ("bias", "seq_transf", {}),
    ("bias", "ju", {}),
    ("bias", "x_pool", {}),
    ("bias", "x_clip", {}),
    ("lorm", "x_clip", {"r": 1}),
    ("bias", "hunyuan", {}),
    ("bias", "clip2video", {}),
    ("ts2_net", "ts2_net", {}),
]
FRAMES, WORDS, B = 4, 12, 11


@pytest.mark.slow
@pytest.mark.parametrize(("method", "similarity", "setting"), CASES)
def test_a_larger_batch_keeps_what_was_foreseen(method, similarity, setting):
    choices = {"similarity": similarity, "frames": FRAMES, "words": WORDS}
    kept = batch.kept(TINY, method, setting, **choices)
    counted = compute.compute(TINY, method, setting, batch=B, **choices).saved * B
    assert kept.whole(B) == pytest.approx(counted, rel=1e-6)
    one, two, five, all_, more = (kept.in_micro_batches(B, size) for size in (1, 2, 5, B, 3 * B))
    assert one < kept.whole(B) and two <= five <= all_ == more


@pytest.mark.slow
def test_heads_that_compare_pairs_keep_them_and_the_others_do_not():
    def pair(similarity, frames=FRAMES):
        return batch.kept(TINY, "bias", similarity=similarity, frames=frames, words=WORDS).pair

    alone = pair("mean_pool")
    assert all(pair(name) - alone < 4 * FRAMES for name in ("seq_transf", "ju"))
    assert pair("x_pool") >= 3 * 4 * TINY.embed  # several vectors of width E for every pair
    assert pair("x_clip") >= 2 * 4 * WORDS * FRAMES and pair("hunyuan") > 4 * FRAMES
    assert pair("x_clip", 2 * FRAMES) > 1.7 * pair("x_clip")


def test_where_nothing_trains_nothing_is_kept():
    assert batch.kept(TINY, "zero_shot", train=False, frames=FRAMES, words=WORDS).whole(128) == 0
