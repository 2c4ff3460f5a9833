"""Facts as text and rows, for app and commands alike. No textual and no click here."""
