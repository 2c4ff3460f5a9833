"""What can be configured: types, presets, rules. No torch here."""
