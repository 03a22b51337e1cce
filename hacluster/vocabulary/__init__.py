"""Values that both ends of a call must agree on. Frozen, pure, without behaviour of any process."""
