"""Rows of channels, delivery items and deliveries: claiming, recording, digest schedule, opt-in, bounces. Open
deliveries.py first.
"""
