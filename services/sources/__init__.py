"""Sources: a plugin knows where papers are announced and reads the listings. Open biorxiv.py first."""
