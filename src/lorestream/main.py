"""The composition root of the web application."""
