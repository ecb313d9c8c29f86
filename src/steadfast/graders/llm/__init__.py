"""The language-model judge, through Inspect's model interface."""
