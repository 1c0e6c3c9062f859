"""One module per page of the web interface. Open subscriptions.py first."""
