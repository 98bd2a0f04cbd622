"""The pages of the development console: their pure functions in Node.js, their size, and their vendored modules."""
