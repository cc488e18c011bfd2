from petvr.errors import PetvrError as PetvrError
from petvr.library.export import export_run as export
from petvr.library.loading import load_model as load
from petvr.library.text_video import EncodedTexts as EncodedTexts
from petvr.library.text_video import EncodedVideos as EncodedVideos
from petvr.library.text_video import TextVideoModel as TextVideoModel

__version__: str
__all__ = ["EncodedTexts", "EncodedVideos", "PetvrError", "TextVideoModel", "__version__", "export", "load"]
