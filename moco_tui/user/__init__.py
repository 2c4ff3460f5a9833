"""The user's own configuration: what it may hold, its file, what the app remembers beside it."""
