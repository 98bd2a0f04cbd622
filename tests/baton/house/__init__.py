"""The rules of the tree: documents, words, imports, habits."""
