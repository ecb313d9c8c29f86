"""The `embedded` judge: sentence embeddings against a rubric's statements."""
