"""Reading mails that came back: the mailbox they arrive in and the reports in them. Open mailbox.py first."""
