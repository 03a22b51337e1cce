"""What hacli and other tools call."""
