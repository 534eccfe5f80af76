"""From a question to numbered passages."""
