"""Text: LaTeX and markup become plain words, and words become tokens and stems. Open tokens.py first."""
