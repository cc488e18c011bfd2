"""What is there of a data set, frozen or not: the manifest, the lock, and whether a data set can be had at all.

    rows       one row per video of a split: present, missing, unreadable; its size, fingerprint, captions
    decoded    what the frame stores found out about the videos since: frames, duration, unreadable ones
    check      both together, the official counts and the lock, in one look
    files      results/manifests/<dataset>.<split>.parquet, and the summary <dataset>.json, the workflow's target
    identity   one hash of all of that; equal means: the same videos, bytes and captions, and the same ones readable
    lock       locks/<dataset>.json, a frozen state that a user commits; what differs from it is named video by video
    available  the cheap question asked while the workflow is parsed: can this data set be had, and if not, why
    report     `petvr data status`

How presence and decoding come together: `petvr data check` looks at names, sizes, the first and last bytes of files.
Whether a video can be decoded only `petvr frames` finds out; it is recorded in the frame store and not repeated in the
manifest's summary, on which the store depends. Everything that asks later (a run, the lock, the status) joins the two.
"""

from petvr.data.manifest.check import CheckedDataset, check_dataset
from petvr.data.manifest.progress import check_progress
from petvr.data.manifest.summary_text import split_summary

__all__ = ["CheckedDataset", "check_dataset", "check_progress", "split_summary"]
