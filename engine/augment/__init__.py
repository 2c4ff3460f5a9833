"""Batched random augmentations."""
