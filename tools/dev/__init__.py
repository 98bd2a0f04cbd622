"""The development server: an embedded engine behind a gateway faithful to API Gateway."""
