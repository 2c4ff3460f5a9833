"""What the terminal can and cannot do."""
