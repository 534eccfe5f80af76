"""Running Lorestream: its health and what it uses."""
