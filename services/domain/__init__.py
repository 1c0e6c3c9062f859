"""The rules of papers, queries, interests, digests and deliveries. Pure: no input or output, and `now` is an argument.
Open papers/paper.py first.
"""
