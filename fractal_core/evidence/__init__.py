"""Evidence: what a comparison of a sentence with its query and context says for or against it."""
