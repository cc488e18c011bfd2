"""petvr from Python: a trained run as one object, an index of videos, and what is shared of a run.

    loading        a run's folder, a shared folder or a hub id to a TextVideoModel
    text_video     the model: texts and video files to features, features to scores
    backbone       where the CLIP of a shared model comes from, and whether it is the right one
    shared_folder  petvr.json and adapter.safetensors: what an exported folder holds
    export, card   a run to such a folder, with its model card
    merge          methods that fold into CLIP: a folder that transformers reads
    peft_format    LoRA from and to PEFT's adapter format
    video_index    features of many videos on disk, searched exactly; index_build, index_manifest, index_part how
                   they come there
    adapting       CLIP under a method as an nn.Module for one's own training loop

`petvr.load` and the other names of `petvr.__all__` stand here. Nothing imports torch until it is asked for.
"""
