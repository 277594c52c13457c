"""Where data sets are kept that scenarios refer to by name."""

import os
from pathlib import Path


def data_home() -> Path:
    """The folder of the data sets: ``INTERLOCK_DATA`` where that is set, else the user's cache."""
    chosen = os.environ.get("INTERLOCK_DATA")
    if chosen:
        return Path(chosen)
    import pooch

    return Path(pooch.os_cache("interlock"))
