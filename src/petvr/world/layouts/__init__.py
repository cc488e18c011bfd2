"""The file formats of the real data sets, one file each, written as text from clips.

A layout has `names(sizes, seed)` -> (id, split) per video, `file_name(id)`, `tell(scene, rng)` -> captions, and
`annotate(clips, seed)` -> text per annotation file.
"""
