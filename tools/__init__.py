"""Commands that are not deployed: development server, demo, packager, commands of the operator.

Some commands use the reference client, which is a file outside the packages. This module adds the folder of the client
to the path, so ``.venv/bin/python -m tools.smoke`` needs no PYTHONPATH.
"""

import sys
from pathlib import Path

_CLIENT = str(Path(__file__).parents[1] / "clients" / "python")
if _CLIENT not in sys.path:
    sys.path.append(_CLIENT)
