"""Accounts: reads what people enter about their account. Open profile.py first."""
