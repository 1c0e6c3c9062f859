"""The percolator: an index of standing queries that each new paper is run against. Open percolator.py first."""
