"""The `embedded` judge compares an answer's sentence embeddings with those of a rubric's statements."""
