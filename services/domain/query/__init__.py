"""The query language: syntax tree, parser, evaluation on one paper, and translation to PostgreSQL's tsquery. Open
ast.py first.
"""
