"""The report turns a run directory into one self-contained HTML page, and its headline numbers into JSON."""

from steadfast.report.json_summary import summarize
from steadfast.report.page import write_report

__all__ = ["summarize", "write_report"]
