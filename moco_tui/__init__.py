"""The terminal app and the commands over ``engine``."""
