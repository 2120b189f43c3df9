"""Pictures of recordings, results and calibrations (extra ``plot``)."""

from dcasenet.plot.picture import PICTURES, save_plot
from dcasenet.plot.reliability import save_reliability

__all__ = ["PICTURES", "save_plot", "save_reliability"]
