"""Translations of the one event stream for each kind of client."""
