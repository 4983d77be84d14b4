"""A trained scorer on responses that no run has seen, a batch at a time; nothing of it goes into the store."""
