"""The method: multiple-instance learning and learning from label proportions on ragged bags."""
