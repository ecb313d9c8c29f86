"""Train a language model's beneficial traits, measure how far the change spreads, and see what it costs."""

__version__ = "0.1.0"
