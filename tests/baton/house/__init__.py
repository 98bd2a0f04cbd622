"""The rules of the repository: documents, words, imports, habits."""
