"""The tests of keys, the key ring and tickets."""
