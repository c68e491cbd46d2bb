"""Interpolation by networks: the part of the package that needs torch."""
