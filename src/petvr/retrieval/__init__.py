"""From scores to ranks and metrics: ties, multi-caption rules, dual-softmax; in blocks, so that galleries may be large.

`metrics` is numpy alone; `dsl` and `ranking` need torch and run where the scores lie.
"""
