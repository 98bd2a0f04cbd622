"""The tests of logins in cookies, and of pages that use them. T1 to T34: docs/baton/attacks.md."""
