"""Readers, one module for each format: ``parse(path) -> Parsed``, raising DocumentFailed."""
