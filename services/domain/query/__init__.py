"""The query language: syntax tree, parser, evaluation on one paper, translation to PostgreSQL's tsquery, and the
percolator. Open ast.py first.
"""
