"""Figures and one self-contained HTML page out of a run directory, and its headline numbers as JSON."""

from steadfast.report.page import write_report
from steadfast.report.summary import summarize

__all__ = ["summarize", "write_report"]
