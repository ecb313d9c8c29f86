"""The judge that asks a language model, through Inspect's model interface."""
