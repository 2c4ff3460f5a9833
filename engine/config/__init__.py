"""What can be configured: types, presets, rules. Nothing here imports torch."""
