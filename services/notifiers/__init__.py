"""Notifiers: a plugin renders a digest and sends it to one kind of channel. Open webhook/__init__.py first."""
