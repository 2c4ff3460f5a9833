"""Executing each kind of run, and estimating what one costs."""
