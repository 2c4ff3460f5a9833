"""What the terminal shows, and what becomes of its descriptors when it is gone."""
