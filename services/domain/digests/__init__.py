"""Digests: what a message says, in which order, with which words marked. Open digest.py first."""
