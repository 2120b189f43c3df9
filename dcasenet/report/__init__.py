"""Write one self-contained HTML page about any number of recordings.

::

    import dcasenet.report

    dcasenet.report.write_report(dcasenet.load(), ["recordings/"], "report.html")
"""

from dcasenet.report.build import ReportSummary, check_replaceable, write_report

__all__ = ["ReportSummary", "check_replaceable", "write_report"]
