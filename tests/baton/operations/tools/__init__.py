"""The tools that never ship."""
