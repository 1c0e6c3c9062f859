"""Rows of sources, of their fetched listings and of their daily batches. Open sources.py first."""
