"""Scene, tags and events of any recording, from one pretrained network.

::

    import dcasenet

    model = dcasenet.load()
    model.analyze(dcasenet.example())

Importing the package imports nothing heavy: torch comes when a name of `__init__.pyi` needs it.
"""

from __future__ import annotations

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
