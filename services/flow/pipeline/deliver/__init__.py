"""Deliver: due items become one delivery per channel, and each delivery is sent under a lease.

Open send.py first: its loop claims (claim.py), renders (render.py), sends, and records outcomes (record.py).
"""
