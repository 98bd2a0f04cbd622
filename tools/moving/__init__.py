"""Move accounts into Baton and out of it: ``python -m tools.operate import``, ``export`` and ``hashes``."""
