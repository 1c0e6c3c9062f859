"""Papers and their identity: identifiers, merging what several listings say, and deciding which entries are the same
paper. Open paper.py first.
"""
