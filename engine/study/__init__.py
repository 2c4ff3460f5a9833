"""A study as data: its grid, what was measured, what may be concluded."""
