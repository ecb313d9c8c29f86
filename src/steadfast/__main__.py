"""`python -m steadfast`, where the command itself is not on the path."""

from steadfast.cli import app

app(prog_name="steadfast")
