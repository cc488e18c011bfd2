"""From video files to a memory-mapped store of uint8 frames: samplers, checked decoding, preprocessing, the store.

    samplers    which frames of a video a recipe looks at
    probe       what a file really holds, found by reading its packets without decoding them
    decode      pixels at given frame indices, with decord where it is right and PyAV where it is not
    preprocess  CLIP's resize and crop, up to the normalisation, which is done on the device
    pool        processes with a time limit per video
    build       all videos of a data set into one store, restartable
    store       the store, read by training and evaluation

Nothing here imports torch.
"""
