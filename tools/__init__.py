"""Never deployed: the development server, the demo, the packager, the operator's commands.

Some of them use the reference client, which is one file outside the packages: its folder joins the path here, so that
``.venv/bin/python -m tools.smoke`` needs no PYTHONPATH.
"""

import sys
from pathlib import Path

_CLIENT = str(Path(__file__).parents[1] / "clients" / "python")
if _CLIENT not in sys.path:
    sys.path.append(_CLIENT)
