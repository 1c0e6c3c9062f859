"""The percolator: an index of stored queries against which new papers are run. Open percolator.py first."""
