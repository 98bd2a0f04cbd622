"""Pages with a cookie."""
