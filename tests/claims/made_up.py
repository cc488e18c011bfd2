"""Results at the size of the real plan without training: what is printed for truth, noise of seeds and queries."""

import hashlib

import numpy as np
from scipy.special import ndtr

from petvr import papers
from petvr.data import datasets
from petvr.retrieval import metrics

KEYS = ("R@1", "R@5", "R@10")


def made_up_results(finished_result, plan, layout, tables, churn=0.13, seed_sd=0.02, trains=None):
    """Leave a result.json and ranks.npz behind for every run of `tables`, which scores what the paper prints.

    trains: run -> how many numbers train; default: a million.
    """
    truths, sets = {}, {}  # by run: some stand in a table of either direction
    for name in tables:
        table = plan.tables[name]
        printed = papers.load_paper(table.paper).printed(table.name)
        for row in table.rows:
            for dataset, cell in row.cells.items():
                truth = {
                    (way, key): number.value
                    for way in ("t2v", "v2t")
                    for key in KEYS
                    if (number := printed.get((row.key, dataset, way, key))) and number.value is not None
                }
                for run in cell.runs:
                    truths[run], sets[run] = truth | truths.get(run, {}), dataset
    for run, truth in truths.items():
        _leave(finished_result, plan.runs[run], layout, sets[run], truth, churn, seed_sd, trains)


def _leave(finished_result, spec, layout, dataset, truth, churn, seed_sd, trains):
    kind = datasets.dataset_class(dataset)
    videos, captions = kind.counts["test"]
    queries = {"t2v": captions, "v2t": videos}
    ranks = {way: _ranks(spec, way, number, truth, churn, seed_sd) for way, number in queries.items()}
    counts = {way: metrics.RankCounts.from_array(each) for way, each in ranks.items()}
    plain = {way: each.summary() for way, each in counts.items()}
    result = finished_result(
        spec, plain, epoch=spec.recipe.epochs, world="real", videos=videos, train_videos=kind.counts["train"][0]
    )
    result.data.test_captions = captions
    if trains is not None:
        result.cost.trainable = trains(spec)
    result.write(layout.result(spec))
    arrays = {f"0/{form}/{way}": each.to_array() for form in ("plain", "dsl") for way, each in counts.items()}
    names = np.array([f"v{n}" for n in range(videos)])
    np.savez(
        layout.run(spec) / "ranks.npz",
        videos=names,
        owner=(np.arange(captions) * videos // captions).astype(np.int32),
        **arrays,
    )


def _ranks(spec, way, queries, truth, churn, seed_sd):
    """Ranks whose R@1, R@5, R@10 are the truth's but for noise; a query is as hard for all runs on its set."""
    shared = np.random.default_rng([1, len(spec.dataset), way == "t2v"]).normal(size=queries)
    own = np.random.default_rng(hash_of(spec.id + way))
    latent = np.sqrt(1 - churn) * shared + np.sqrt(churn) * own.normal(size=queries) + own.normal(0, seed_sd)
    place = ndtr(latent)
    edges = np.maximum.accumulate([truth.get((way, key), 40.0 + 20 * n) / 100 for n, key in enumerate(KEYS)])
    ranks = np.full(queries, 30.0)
    for edge, rank in zip(edges[::-1], (8.0, 3.0, 1.0), strict=True):
        ranks[place < edge] = rank
    return ranks


def hash_of(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
