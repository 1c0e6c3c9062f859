"""HTTP requests with limits: the client follows redirects and decodes bodies, the transport refuses private addresses.

Open client.py first.
"""
