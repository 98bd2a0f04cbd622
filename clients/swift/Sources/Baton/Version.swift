/// The version of this library. Its first two numbers are those of the wire: docs/baton/wire.md.
public let batonClientVersion = "0.1.0"
