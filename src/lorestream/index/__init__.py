"""Vectors and ids, nothing else."""
