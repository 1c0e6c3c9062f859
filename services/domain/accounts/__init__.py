"""Accounts: reading what a person enters about the own account. Open profile.py first."""
