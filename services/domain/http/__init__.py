"""Rules of HTTP that need no network: which addresses may be requested, content encodings, caching headers. Open
ssrf.py first.
"""
