"""Heads on frozen features, and the baselines beside them."""
