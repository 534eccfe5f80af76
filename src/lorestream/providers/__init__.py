"""Chat models and embedders: one port each, an adapter per kind of server."""
