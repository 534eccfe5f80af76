"""Measuring how well questions are answered: question sets, measures, reports."""
