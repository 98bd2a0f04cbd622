"""The development API (``/_dev``) and the faults of the development server: docs/baton/development.md."""
