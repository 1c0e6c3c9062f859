"""Embedders: a plugin turns texts into unit vectors. Open minilm/__init__.py first."""
