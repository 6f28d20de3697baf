"""What the app takes, measured here: every figure next to a floor of the same run, and the aim it is held to."""
