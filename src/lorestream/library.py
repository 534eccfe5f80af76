"""The services without HTTP."""
