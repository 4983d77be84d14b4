"""Fingerprints, artefacts, manifests, locks and run records."""
