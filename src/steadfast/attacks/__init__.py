"""Attacks on what was trained: what pulls a model away from it, and what merely steers it."""
