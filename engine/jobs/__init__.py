"""What runs each kind of run, and what it costs."""
