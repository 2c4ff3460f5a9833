"""The index over the run folders: a TinyDB that may be lost, and the filter language."""
