"""Subscriptions: validation of a draft, the decision whether a paper matches and its reason, silences, trending. Open
matcher.py first.
"""
