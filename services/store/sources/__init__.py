"""Rows of sources, their listings and daily batches. Open sources.py first."""
