"""The development server: an embedded database and a gateway that behaves like API Gateway."""
