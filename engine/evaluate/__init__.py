"""What features are worth: kNN, classification tasks, metrics."""
