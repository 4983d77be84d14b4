"""Shards computed by the processes of a Ray cluster against a shared workspace folder."""
