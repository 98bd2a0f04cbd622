"""The application that Baton's tests serve. A team changes its own ``app.py``, and never this application."""
