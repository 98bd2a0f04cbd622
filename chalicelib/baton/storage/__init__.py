"""The only package that opens connections: to AWS services, and to services of other parties (``fetch.py``)."""
