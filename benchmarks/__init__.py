"""Scripts that regenerate every figure of the project."""
