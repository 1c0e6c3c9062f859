"""Interests: how a text and example papers become a weight vector with a threshold, and the index that scores papers
against all of them. Open calibration.py first.
"""
