"""How long a configuration write takes, and how many go through a second."""
