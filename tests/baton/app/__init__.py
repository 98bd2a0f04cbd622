"""What the app is made of: settings and Baton's public names."""
