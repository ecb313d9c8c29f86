"""The `steadfast` command."""

from steadfast.cli._app import app

__all__ = ["app"]
