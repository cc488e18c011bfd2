"""A finished run asked with a sentence or with a video file of one's own.

    opened    a run brought back from its result, its trained tensors, CLIP's weights and the frame store
    features  what the towers give for all videos or all captions of a split, kept for the next query
    rank      the best videos for a sentence, the best captions for a video

Scores are those the run's own ranks come from: plain ones, before dual-softmax, which needs all queries at once.
Nothing here imports torch until a module is asked for.
"""
