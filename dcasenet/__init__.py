"""Scene, tags and events of any recording, from one pretrained network.

::

    import dcasenet

    model = dcasenet.load()
    model.analyze(dcasenet.example())

Importing the package imports nothing heavy: torch comes when a name of `__init__.pyi` needs it.
Submodules named there, such as `dcasenet.labels`, need no import of their own.
"""

from pkgutil import iter_modules

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
# `from dcasenet import *` imports no submodule: some need an extra.
_submodules = {module.name for module in iter_modules(__path__)}
__all__ = [name for name in __all__ if name not in _submodules]
__all__ += ["__version__"]
