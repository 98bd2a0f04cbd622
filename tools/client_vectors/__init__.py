"""The vectors of the client libraries: ``clients/vectors/*.json``.

``python -m tools.client_vectors`` writes them. A test writes them again and compares. Every client suite reads them.
The generator imports no client, so it also tests the Python client.
"""
