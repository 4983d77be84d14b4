"""Figures that say how good the sentence labels are."""
