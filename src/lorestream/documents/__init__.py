"""From an uploaded file to searchable chunks."""
