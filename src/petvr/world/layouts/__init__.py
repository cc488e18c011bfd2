"""The file formats of the real data sets, one file each, written as text from clips.

A layout has `clip_names(sizes, seed)` -> (id, split) per video, `file_name(id)`, `caption_scene(scene, rng)` ->
captions, and `annotation_texts(clips, seed)` -> text per annotation file.
"""
