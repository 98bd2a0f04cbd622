"""The test vectors of the client libraries: ``clients/vectors/*.json``.

``python -m tools.client_vectors`` writes these files. A test compares the files with newly generated texts. The test
suite of every client reads the files. The generator imports no client, so the vectors also test the Python client.
"""
