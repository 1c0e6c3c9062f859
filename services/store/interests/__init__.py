"""Rows of interests: thresholds, the papers they are learned from, embedding models, and papers that wait for a vector.
Open thresholds.py first.
"""
