"""Bringing a data set's files: resumable, checked, from ordered mirrors; what cannot be had is written down.

A data set's file declares its sources (datasets/source.py). Annotation files go directly into the root of the data
set, videos into its folder of videos. What the user names in `paths` is never downloaded and never written to. Three
files tell the rest of petvr what happened. They lie in STATE = <data>/<folder>, also where `paths` names another place:

STATE/download.json       the mark: what the last `petvr download` left behind, rewritten by each one, atomically
    {"format": 1, "folder": "msvd", "root": "data/msvd", "videos": "data/msvd/videos", "complete": false,
     "sources": [{"key": "videos", "gives": "videos", "status": "gated", "reason": "one line", "next": "one line",
                  "mirror": "https://... or null", "files": ["for annotations"]}]}
    status    a value of source_state.SourceState
    complete  every source that is not optional is `settled`

The workflow's rule `download` has the output STATE/download.done, an empty file that any later call renews where it
brought something; download.json is not an output, since Snakemake deletes the outputs of a failed job. With --record a
call succeeds as soon as all annotation files and some video are there (`missing: strict`: everything), and fails
otherwise; what is lacking then stands in download.json.

STATE/missing.json        videos that some source should have given and did not; a video that is there is not listed
    {"format": 1, "videos": {"v_abc": {"status": "missing_permanent", "reason": "private video", "source": "videos",
                                       "attempts": 1, "last_try": "2026-11-21T16:40:00+00:00"}}}
    status    a value of VideoState: REMOVED (404, private, account terminated, blocked in the country)
              or RETRY_LATER (network, bot check); only the latter are tried again by the next call

STATE/download.lock.json  what came from where, so that a later change at the other end is noticed
    {"format": 1, "files": {"<address>": {"sha256": "...", "size": 12186, "etag": "...", "last_modified": "...",
                                          "date": "...", "published": true}},
     "videos": {"<source key>": {"mirror": "<address or youtube>", "complete": true, "date": "..."}}}
    Where no checksum is published the first download's is trusted and any later one must equal it. It lies beside the
    data and not in the repository because it says what this copy of the data is. Pictures of two mirrors are not mixed:
    a source stays with the mirror its first video came from.

Unfinished work: `.download/` in the root and in the folder of videos holds `*.part` files and members on their way out
of an archive. A killed download continues there; deleting it is always safe. One call works on a folder at a time.
"""
