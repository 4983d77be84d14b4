"""Known data sets, from the files that they come in to fractal's input."""
