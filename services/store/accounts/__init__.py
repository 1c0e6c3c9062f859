"""Rows of accounts, sign-in links and API tokens. Open accounts.py first."""
