"""Read JSON that another party signed. ``keys.strict_json`` has the reader."""

from chalicelib.baton.keys.strict_json import read_object

__all__ = ["read_object"]
