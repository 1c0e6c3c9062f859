"""paperwire: research-paper alerts. Open ports.py first: it names the three kinds of plugins and what they exchange."""
