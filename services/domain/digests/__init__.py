"""Digests: the content of messages, the order of papers, and the words that are marked. Open digest.py first."""
