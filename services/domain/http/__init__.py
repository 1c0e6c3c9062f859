"""HTTP rules without a network: allowed addresses, content encodings and caching headers. Open ssrf.py first."""
