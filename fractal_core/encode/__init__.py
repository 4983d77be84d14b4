"""The frozen sentence encoder and the stage that reads every distinct text once."""
