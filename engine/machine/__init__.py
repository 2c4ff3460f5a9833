"""What the machine is, and what it grants to this process; no torch."""
