"""Mail: codes that prove an address, password resets, and notices to the owner of an account."""
