"""A run's report: `report.html` and its charts. Knows a run's folder; changes nothing else in it.

`python -m antbee.training.report RUN` makes it again.
"""

from antbee.training.report.write import try_report, write_report

__all__ = ["try_report", "write_report"]
