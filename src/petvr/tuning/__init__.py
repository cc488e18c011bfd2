"""The same tuning for every method, as files: a grid of rates, synchronous successive halving, judged on validation.

A study (study.py) is the trials of one cell. Rung by rung they are trained from where they stood
(petvr.training.trial), and a decision (decisions.py), a pure function of a rung's records, says which go on. What is
chosen reaches final runs from a committed lock, else from the last decision (choices.py). docs/tuning.md has the
procedure with its reasons.
"""
