"""The columns of results.parquet."""

import polars as pl

RESULT_SCHEMA = {
    "checkpoint": pl.String,
    "kind": pl.String,
    "eval": pl.String,
    "construct": pl.String,
    "domain": pl.String,
    "source": pl.String,
    "scoring": pl.String,
    "item": pl.String,
    "score": pl.Float64,
    "answer": pl.String,
    "finished": pl.Boolean,
    "refused": pl.Boolean,
    "detail": pl.String,
}
"""`kind`: "battery", "trait", "capability", "chat" or "public"; `score`: null, ungraded."""
