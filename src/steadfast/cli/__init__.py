"""The `steadfast` command."""

from steadfast.cli.app import app

__all__ = ["app"]
