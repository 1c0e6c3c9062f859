"""Signing in at an OpenID Connect issuer. Open issuer.py first."""
