"""Learn sentence scores from response labels."""
