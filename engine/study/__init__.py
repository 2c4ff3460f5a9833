"""A study as data: its grid, its measurements, and the conclusions that they allow."""
