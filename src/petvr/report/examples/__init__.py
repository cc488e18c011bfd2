"""Retrieval to look at: a page of chosen queries, and the papers' qualitative figures, with the frames the model saw.

What a run answers comes from petvr.search; what is shown is chosen by rule and seed (`choose`), never by hand.
"""
