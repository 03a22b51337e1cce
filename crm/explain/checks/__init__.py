"""What a configuration says that cannot work, or not as meant: a module for each part of it. Pure."""
