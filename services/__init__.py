"""paperwire: research-paper alerts."""
