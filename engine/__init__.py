"""Momentum contrast, its probes and its runs: a library that knows nothing of the terminal."""
