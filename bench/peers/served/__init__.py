"""The separate processes of the comparison: one server for each product, and Baton."""
