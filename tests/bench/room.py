"""Where a bench works: a folder of its own that goes with the process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path


def new_room(within: Path | None = None) -> Path:
    """Not below the user's home: as root, Postgres runs under a system user that must be able to walk there."""
    room = Path(tempfile.mkdtemp(prefix="pgfolio-bench-", dir=within))
    room.chmod(0o755)
    # At the very end, for pgserver makes its lock file once more when the process ends; what is registered first is
    # done last.
    atexit.register(shutil.rmtree, room, ignore_errors=True)
    return room
