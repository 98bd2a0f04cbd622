"""Commands that are not deployed: development server, demo, packager, commands of the operator.

Some commands import the reference client, a file in ``clients/python``. This module adds this folder to ``sys.path``.
Therefore, commands such as ``.venv/bin/python -m tools.smoke`` need no PYTHONPATH.
"""

import sys
from pathlib import Path

_CLIENT = str(Path(__file__).parents[1] / "clients" / "python")
if _CLIENT not in sys.path:
    sys.path.append(_CLIENT)
