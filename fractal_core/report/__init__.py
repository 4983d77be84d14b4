"""One HTML file about a run, from its tables."""
