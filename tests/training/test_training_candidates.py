"""Which sentences a method that looks at sentences is given, and what depends on them."""

import numpy as np
import pytest
import torch
import training_bench as tiny

from petvr.clip import tokenizer
from petvr.data.frames.store import FrameStore
from petvr.errors import PetvrError
from petvr.retrieval import ranking
from petvr.training import candidate_texts, evaluate, model
from petvr.training.batches import FrameReader, TokenizedCaptions
from petvr.training.candidate_texts import candidate_captions


def spec(**setting):
    return tiny.spec("rap", setting={"hidden": 4, **setting}, epochs=1, lr_new=1e-2)


def texts_of(made, bench, captions):
    """Features one caption at a time."""
    tokenize = tokenizer.load_tokenizer(bench["weights"])
    with torch.no_grad():
        return torch.cat([made.encode_texts(tokenize([caption], tiny.WORDS))["text"] for caption in captions])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gallery", "fixed"])
def test_training_gives_the_batchs_sentences_and_evaluation_the_pools(bench, monkeypatch, name):
    given = []
    original = model.Model.encode_videos

    def encode_videos(made, pixels, mask, sentences=None):
        assert not sentences.requires_grad or made.adapted.training
        given.append((made.adapted.training, sentences.detach().clone(), made))
        return original(made, pixels, mask, sentences)

    monkeypatch.setattr(model.Model, "encode_videos", encode_videos)
    result = tiny.train(spec(pool=name), **bench)
    assert result.cost.trainable_by_part["new"] > 0 and result.cost.flops_per_pair > 1e6
    trained = [sentences for training_, sentences, _ in given if training_]
    assert len(trained) == 6 and all(len(sentences) == 8 for sentences in trained)
    _, sentences, made = given[-1]  # of the last evaluation, with the weights that are still there
    split = bench["dataset"].split("test" if name == "gallery" else "train")
    expected = texts_of(made, bench, dict.fromkeys(split.captions))
    assert len(sentences) == len(expected)
    nearest = torch.cdist(expected, sentences, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1).values
    assert nearest.max() < 1e-4


def test_videos_depend_on_the_gallery_but_not_on_anothers_pool(bench):
    """Half of the test captions gone: with the gallery the videos' features change, with a fixed pool they do not."""
    made = model.build_model(spec(), bench["weights"], torch.device("cpu"))
    made.set_training(False)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter, _ in made.trained.values():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    train, test = (list(dict.fromkeys(bench["dataset"].split(name).captions)) for name in ("train", "test"))
    videos = bench["dataset"].split("test").videos
    pixels, mask = (torch.from_numpy(part) for part in FrameStore(bench["store"]).get(videos))

    def features(name, captions):
        sentences = candidate_captions(name, train)
        with torch.no_grad():
            return made.encode_videos(
                pixels, mask, texts_of(made, bench, captions if sentences is None else sentences)
            )["video"]

    assert not torch.allclose(features("gallery", test), features("gallery", test[:1]), atol=1e-5)
    torch.testing.assert_close(features("gallery", test), features("gallery", test[::-1]))
    assert torch.equal(features("fixed", test), features("fixed", test[:1]))


@pytest.mark.slow
def test_a_result_does_not_depend_on_how_many_frames_are_encoded_at_once(bench, tmp_path):
    results = []
    for count in (3, 48):
        out = {**bench, "out": tmp_path / f"out{count}", "state": tmp_path / f"state{count}"}
        results.append(tiny.train(spec(), **out, eval_frames_per_batch=count))
    one, other = results
    assert [each.plain for each in one.evaluations] == [each.plain for each in other.evaluations]


def test_by_query_each_caption_ranks_videos_that_were_read_with_it_alone(bench):
    """Against a loop over captions; the other direction is the gallery's."""
    rankings = {}
    for pool in ("query", "gallery"):
        run = spec(pool=pool)
        made = model.build_model(run, bench["weights"], torch.device("cpu"))
        made.set_training(False)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter, _ in made.trained.values():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
        store, test = FrameStore(bench["store"]), bench["dataset"].split("test")
        data = evaluate.EvaluationData(
            TokenizedCaptions(test.captions, tokenizer.load_tokenizer(bench["weights"]), tiny.WORDS),
            test.caption_video,
            FrameReader(store, test.videos, torch.device("cpu")),
        )
        rankings[pool] = evaluate.rank_split(made, data, run.recipe.model_copy(update={"dsl": "emcl"}))
    pixels, mask = (torch.from_numpy(part) for part in store.get(test.videos))
    rows = []
    for caption in test.captions:
        text = texts_of(made, bench, [caption])
        with torch.no_grad():
            rows.append(made.scores({"text": text}, made.encode_videos(pixels, mask, text)))
    by_hand = ranking.evaluate(torch.cat(rows), test.caption_video)
    query, gallery = rankings["query"], rankings["gallery"]
    assert np.array_equal(query.plain.counts["t2v"].above, by_hand.plain.counts["t2v"].above)
    assert not np.array_equal(query.plain.counts["t2v"].above, gallery.plain.counts["t2v"].above)
    for one, other in ((query.plain, gallery.plain), (query.dsl, gallery.dsl)):
        assert np.array_equal(one.counts["v2t"].above, other.counts["v2t"].above)


def test_the_fixed_pool_is_a_sample_of_distinct_training_captions():
    captions = [f"caption {number % 1500}" for number in range(3000)]
    drawn = candidate_captions("fixed", captions)
    assert len(drawn) == len(set(drawn)) == candidate_texts.SIZE and set(drawn) <= set(captions)
    assert drawn == candidate_captions("fixed", captions)
    assert candidate_captions("gallery", captions) is None
    assert len(candidate_captions("fixed", captions[:7])) == 7
    with pytest.raises(PetvrError, match="did you mean 'gallery'"):
        candidate_captions("galery", captions)


def test_methods_that_look_at_no_sentence_are_given_none(bench, monkeypatch):
    seen = []
    from petvr.clip.towers import Clip

    original = Clip.encode_frames
    monkeypatch.setattr(
        Clip,
        "encode_frames",
        lambda self, *args: seen.append(args[3] if len(args) > 3 else None) or original(self, *args),
    )
    made = model.build_model(tiny.spec("lorm"), bench["weights"], torch.device("cpu"))
    texts = TokenizedCaptions(["red left"], tokenizer.load_tokenizer(bench["weights"]), tiny.WORDS)
    made.encode_videos(
        torch.zeros(1, 3, 3, 16, 16),
        torch.ones(1, 3, dtype=torch.bool),
        made.encode_texts(texts.tokenized()[0])["text"],
    )
    assert seen == [None]
