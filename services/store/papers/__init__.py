"""Rows of papers: identifiers, appearances, vectors, the search index, and the merging of two papers. Open papers.py
first.
"""
