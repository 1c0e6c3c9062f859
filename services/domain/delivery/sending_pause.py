"""What people read about the sending pause."""

COPIED = "this database was copied from another server, and what that server has sent since then is not known here"
"""Why sending is paused."""
COUNTED_AS_SENT = "counted as sent when the sending pause ended"
"""Why an item was dropped or a delivery cancelled."""
