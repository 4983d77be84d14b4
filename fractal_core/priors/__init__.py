"""What is known about a sentence before any label is seen."""
