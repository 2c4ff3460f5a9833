"""Heads on frozen features, and what they stand beside."""
