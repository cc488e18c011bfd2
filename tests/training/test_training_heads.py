"""Whole runs with the similarities that read frames, words or patches: several captions a video, padding, ranks."""

import numpy as np
import pytest
import torch
import training_bench as tiny
from safetensors.torch import load_file

from petvr import similarity
from petvr.clip import tokenizer
from petvr.data.frames.store import FrameStore
from petvr.errors import PetvrError
from petvr.retrieval import ranking
from petvr.retrieval.metrics import RankCounts
from petvr.training import evaluate, model

torch.set_num_threads(1)
SETTINGS = {"ju": {"prefix": 2, "postfix": 2}, "x_pool+vop": {"tokens": 3}}
METHODS = ["seq_transf", "x_pool", "x_pool+vop", "x_clip", "ju", "ts2_net", "clip2video", "hunyuan"]


def spec(method, **changes):
    values = {"similarity": method.partition("+")[0], "epochs": 1, "lr_head": 3e-3, "batch": 16, **changes}
    if method == "ts2_net":
        values["similarity_setting"] = {"tokens": 2, "samples": 20}
    return tiny.spec(method, setting=SETTINGS.get(method), **values)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.slow
def test_ranks_are_those_of_the_saved_head_one_pair_at_a_time(method, bench, monkeypatch):
    monkeypatch.setattr(type(bench["dataset"]), "per_video", 2)
    monkeypatch.setattr(evaluate, "FRAMES_PER_BATCH", {"cpu": 5})  # texts in parts of several lengths
    run = spec(method)
    result = tiny.train(run, **bench)
    assert result.cost.trainable_by_part["head"] > 0
    again = model.build_model(run, bench["weights"], torch.device("cpu"))
    again.restore(load_file(bench["out"] / "adapter.safetensors"))
    again.set_training(False)
    split = bench["dataset"].split("test")
    assert len(split.captions) == 2 * len(split.videos)
    store, tokenize = FrameStore(bench["store"]), tokenizer.load_tokenizer(bench["weights"])
    scores = np.zeros((len(split.captions), len(split.videos)))
    with torch.no_grad():
        texts = [again.encode_texts(tokenize([caption], tiny.WORDS)) for caption in split.captions]
        for column, video in enumerate(split.videos):
            pixels, mask = (torch.from_numpy(part) for part in store.get([video]))
            videos = again.encode_videos(pixels, mask)
            for row, text in enumerate(texts):
                scores[row, column] = again.scores(text, videos)
    report = ranking.evaluate(np.round(scores, 5), split.caption_video)
    with np.load(bench["out"] / "ranks.npz") as file:
        for way in ("t2v", "v2t"):
            found = RankCounts.from_array(file[f"{result.selected['best_on_test']}/plain/{way}"])
            assert np.abs(found.mean_place - getattr(report.plain, way)).max() <= 1  # near ties, whatever the batch


def test_a_method_without_its_similarity_is_refused(bench):
    with pytest.raises(PetvrError, match=r"method 'x_pool' needs recipe.similarity 'x_pool', 'mean_pool' given"):
        tiny.train(tiny.spec("x_pool"), **bench)


SHAPES = {"activitynet": (4917, 4917, 64, 64), "msvd": (27763, 670, 12, 32)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", similarity.available())
def test_a_whole_test_set_of_real_size_fits_in_four_gigabytes(name, shape):
    """By arithmetic on shapes: both sides, all scores, a dozen blocks, and one batch of what the towers give."""
    texts, videos, frames, words = SHAPES[shape]
    with torch.device("meta"):
        score = similarity.build_similarity(name, {}, 512, frames=frames, words=words).eval()

        def features(count, videos_at_once):
            left = {"text": torch.empty(count, 512), "words": torch.empty(count, words, 512)}
            left["word_mask"] = torch.empty(count, words, dtype=torch.bool)
            right = {
                "frames": torch.empty(videos_at_once, frames, 512),
                "mask": torch.empty(videos_at_once, frames) > 0,
            }
            if "patches" in score.NEEDS:
                right["patches"] = torch.empty(videos_at_once, frames, 49, 512)
            return left, right

        left, right = features(texts, videos)
        kept = [*score.text_side(left).values(), *score.video_side(right).values(), *score.parameters()]
        batch = [part for side in features(256, max(1, 256 // frames)) for part in side.values()]
    assert sum(part.nbytes for part in kept + 4 * batch) + 4 * texts * videos + 12 * 4 * 2**24 < 4 * 2**30
