"""Measuring a checkpoint or any model on suites of tasks, by one path that ends in rows."""
