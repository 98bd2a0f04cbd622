"""The tests of the HTTP interface, through the API Gateway emulator."""
