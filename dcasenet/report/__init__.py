"""One HTML page about any number of recordings, with everything that it shows inside.

::

    import dcasenet.report

    dcasenet.report.write_report(dcasenet.load(), ["recordings/"], "report.html")
"""

from dcasenet.report.build import write_report

__all__ = ["write_report"]
