"""Maths that must be fast: one folder an operation, its definition in `reference.py` beside the kernels."""
