"""HTTP message signatures (RFC 9421) and Content-Digest (RFC 9530). No I/O."""
