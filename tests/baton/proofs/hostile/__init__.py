"""Hostile input: everything that a client can send. The API description must hold for each answer."""
