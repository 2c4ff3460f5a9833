"""Telling a person that a run has ended or needs a look: what is said, and the ways it goes."""
