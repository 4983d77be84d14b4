"""From input files to sentences with exact offsets."""
