"""Charts: curve points -> columns -> cells of a canvas -> plotext figure -> rows of text."""
