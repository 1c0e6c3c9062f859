"""Sources: when to poll, what a feed's own hints ask for, how fast one host may be asked, and which daily batches are
complete. Open polling.py first.
"""
