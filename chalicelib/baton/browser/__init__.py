"""Pages with a cookie: which page may send a request, and the login that its cookies hold."""
