"""Encoders and momentum contrast."""
