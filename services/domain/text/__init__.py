"""Text as people and indexes see it: LaTeX and markup become plain words, words become tokens and stems. Open tokens.py
first.
"""
