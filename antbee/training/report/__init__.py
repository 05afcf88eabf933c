"""A run's report: `report.html` and its charts. Knows a run's folder; changes nothing else in it.

`python -m antbee.training.report RUN` makes it again.
"""
