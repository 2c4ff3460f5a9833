"""The index over the run folders: TinyDB, searched and filtered."""
