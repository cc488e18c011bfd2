"""What `make demo` and `make demo-all` would run fits the CLIP they train."""

from pathlib import Path

import pytest
import torch

from petvr import config, planning
from petvr.clip import weights
from petvr.clip.config import ClipConfig, Tower
from petvr.training import model

ROOT = Path(__file__).parents[2]
TOWER = Tower(width=64, layers=12, heads=2, mlp=256)  # as petvr.world.tiny_clip makes it
TINY = ClipConfig(TOWER, TOWER, image=48, patch=16, positions=77, vocab=700, eot=699, embed=64)


@pytest.fixture
def plan(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("PETVR_CONFIG", raising=False)
    return lambda *files: planning.plan(config.load_config(["demo", *files]))


def test_the_demo_shows_the_tables_it_promises_in_full(plan):
    tables = plan().tables
    assert set(tables) == {"vop/table_3", "rap/table_4", "mv_adapter/table_6a", "cross_modal_adapter/table_2"}
    for table in tables.values():
        assert all(not cell.unavailable for row in table.rows for cell in row.cells.values()), table.id


def test_all_methods_of_a_demo_table_train_equally_long(plan):
    everything = plan("workflow/demo_all.yaml")
    for table in everything.tables.values():
        trained = [everything.runs[run] for run in table.runs if everything.runs[run].train]
        for dataset in {run.dataset for run in trained}:
            same = {(run.recipe.epochs, run.recipe.batch) for run in trained if run.dataset == dataset}
            assert len(same) == 1, (table.id, dataset, same)


@pytest.mark.slow
def test_every_row_of_all_tables_fits_the_tiny_clip(plan):
    everything = plan("workflow/demo_all.yaml")
    assert len(everything.tables) == 33
    shown = [cell for table in everything.tables.values() for row in table.rows for cell in row.cells.values()]
    assert {cell.unavailable for cell in shown} == {"", "reported only"}
    numbers = weights.random(TINY, seed=0).state_dict()
    different = {}
    for run in everything.runs.values():
        recipe = run.recipe
        parts = run.setting, recipe.frames, recipe.words, recipe.similarity, recipe.similarity_setting
        different[run.method, repr(parts)] = run
    generator = torch.Generator().manual_seed(0)
    for run in different.values():
        clip = weights.on_meta(TINY)
        clip.load_state_dict(numbers | {"logit_scale": numbers["logit_scale"].clone()}, assign=True)
        made = model.model_on(clip, run, torch.device("cpu"))
        pixels = torch.randn(2, run.recipe.frames, 3, TINY.image, TINY.image, generator=generator)
        ids = torch.randint(1, 600, (3, run.recipe.words), generator=generator)
        ids[:, -1] = TINY.eot
        with torch.no_grad():
            sentences = torch.randn(5, TINY.embed, generator=generator)
            videos = made.encode_videos(pixels, torch.ones(2, run.recipe.frames, dtype=torch.bool), sentences)
            assert made.scores(made.encode_texts(ids), videos).isfinite().all(), run.id
