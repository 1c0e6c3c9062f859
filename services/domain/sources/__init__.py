"""Rules of sources: when to poll, hints of feeds, rate limits, and which daily batches are complete. Open polling.py
first.
"""
