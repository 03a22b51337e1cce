"""Creating actions: what each resource has to do to get from its role now to the one chosen for it."""
