"""Accounts: reading what a person enters about himself. Open profile.py."""
