"""The deletion of an account by its owner."""

from datetime import timedelta

DELETED_AFTER = timedelta(days=7)
"""The time in which an owner can undo it. Nothing is sent meanwhile."""
