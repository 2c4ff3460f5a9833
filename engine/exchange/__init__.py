"""Encoders for other programs, and encoders of other programs."""
