"""The dress rehearsal: whether this installation gives what the papers gave, asked before a GPU hour is spent.

    parts         what a part of it found, as a file; parts that said yes are not asked again
    weights       are these OpenAI's towers and is this their tokenizer
    canary        zero-shot on the real test sets beside what a paper prints; pixels beside the videos
    alternatives  the rule that explains a canary that deviates
    shapes        every distinct model of the plan: two steps and an evaluation
    node          what a job of the cluster sees
    room          what will be written, against what is free
    page          go or no-go, on one page

Nothing here imports torch before it is used.
"""
