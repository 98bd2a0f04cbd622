"""The storage in memory, for development and tests: ``BATON_STORAGE=memory``. It ends with its process."""
