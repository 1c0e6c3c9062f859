"""Rows of subscriptions, match runs, matches, silences and quarantined papers. Open subscriptions.py first."""
