"""petvr: text-video retrieval with few trained parameters. From Python:

    model = petvr.load("results/runs/rap/msrvtt-9k/vit-b-32/rap/seed-0")
    model.score(["a dog runs"], ["a.mp4", "b.mp4"])

docs/python.md says more. The names below are imported when they are first asked for (types stand in __init__.pyi).
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "Adapted": "petvr.methods._adapted",
    "EncodedTexts": "petvr.library.text_video",
    "EncodedVideos": "petvr.library.text_video",
    "Index": "petvr.library.video_index",
    "PetvrError": "petvr.errors",
    "TextVideoModel": "petvr.library.text_video",
    "VideoMatch": "petvr.library.video_index",
    "adapt": "petvr.library.adapting:adapt_clip",
    "export": "petvr.library.export:export_run",
    "load": "petvr.library.loading:load_model",
    "push": "petvr.library.hub:push_folder",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'petvr' has no attribute '{name}'")
    module, _, original = _HOMES[name].partition(":")
    value = globals()[name] = getattr(import_module(module), original or name)
    return value


def __dir__():
    return sorted({*globals(), *_HOMES})
