"""The draws that a world is made of are numpy's own."""

import numpy as np
import pytest

from petvr.world.seeds import generator, one_of, one_weighted, shuffled

NAMES = ["red", "green", "blue", "yellow", "purple"]
WEIGHTS = [0.1, 0.4, 0.2, 0.25, 0.05]


@pytest.mark.parametrize("count", range(1, 6))
def test_each_draw_is_numpys_and_leaves_its_generator_where_numpy_does(count):
    names, weights = NAMES[:count], np.array(WEIGHTS[:count])
    ours, numpys = generator(3, "draws"), generator(3, "draws")
    for _ in range(300):
        assert one_of(ours, dict.fromkeys(names)) == numpys.choice(names)
        assert one_weighted(ours, names, weights) == numpys.choice(names, p=weights / weights.sum())
        assert shuffled(ours, names) == list(numpys.permutation(names))
    assert ours.random() == numpys.random()
