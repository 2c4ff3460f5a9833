"""Charts: series -> columns -> cells -> plotext figure -> rows of styled text."""
