"""HTTP requests with limits: the client that follows redirects and decodes bodies, and the transport that refuses
private addresses. Open client.py first.
"""
