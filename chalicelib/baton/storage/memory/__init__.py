"""The storage in memory, for development and tests: ``BATON_STORAGE=memory``. Its data ends with the process."""
