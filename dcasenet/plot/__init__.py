"""Pictures of recordings, results and calibrations (extra ``plot``)."""

from dcasenet.plot.picture import save_plot
from dcasenet.plot.reliability import save_reliability
from dcasenet.plot.saving import PICTURES, is_plot, new_figure

__all__ = ["PICTURES", "is_plot", "new_figure", "save_plot", "save_reliability"]
