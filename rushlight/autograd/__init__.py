"""Differentiation: the tape and the engine (floor), and on the public floor functional and gradcheck."""
