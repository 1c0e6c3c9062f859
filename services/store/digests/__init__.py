"""What a digest needs from the database: announcements, reasons, trending papers. Open content.py first."""
