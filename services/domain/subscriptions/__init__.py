"""Subscriptions: validation of a draft, the decision whether a paper matches, silences, trending. Open matcher.py
first.
"""
