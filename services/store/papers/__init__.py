"""Rows of papers, their identifiers, vectors and search index; merging of two papers into one. Open papers.py first."""
