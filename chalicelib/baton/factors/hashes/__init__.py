"""Password hashes of other systems, one file for each kind.

The first login with the password replaces an imported hash if its kind or cost is not current, or if it was not made
from the normal form of the password. Exception: a bcrypt hash stays if the password has more than 72 bytes.
"""
