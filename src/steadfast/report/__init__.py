"""Figures and one self-contained HTML page out of a run directory, and its headline numbers as JSON."""

from steadfast.report.json_summary import summarize
from steadfast.report.page import write_report

__all__ = ["summarize", "write_report"]
