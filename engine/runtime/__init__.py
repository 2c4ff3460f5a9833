"""Where and how it is computed."""
