"""Resource agents: what one is, how one is called, and those this project ships."""
