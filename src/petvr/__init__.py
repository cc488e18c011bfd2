"""petvr: tables of parameter-efficient text-video retrieval, from video files to mean±std over seeds."""

__version__ = "0.1.0"
