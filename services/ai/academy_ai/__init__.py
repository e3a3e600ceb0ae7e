"""The AI workers: one folder a kind."""
