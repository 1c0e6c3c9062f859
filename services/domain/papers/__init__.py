"""Papers: what a listing and a paper consist of, identifiers, deduplication and ingestion. Open paper.py first."""
