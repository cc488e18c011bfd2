from petvr.errors import PetvrError as PetvrError
from petvr.library.adapting import adapt_clip as adapt
from petvr.library.export import export_run as export
from petvr.library.hub import push_folder as push
from petvr.library.loading import load_model as load
from petvr.library.text_video import EncodedTexts as EncodedTexts
from petvr.library.text_video import EncodedVideos as EncodedVideos
from petvr.library.text_video import TextVideoModel as TextVideoModel
from petvr.library.video_index import Index as Index
from petvr.library.video_index import VideoMatch as VideoMatch
from petvr.methods._adapted import Adapted as Adapted

__version__: str
__all__ = [
    "Adapted",
    "EncodedTexts",
    "EncodedVideos",
    "Index",
    "PetvrError",
    "TextVideoModel",
    "VideoMatch",
    "__version__",
    "adapt",
    "export",
    "load",
    "push",
]
