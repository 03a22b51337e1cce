"""What-if: changes that pretend something happened, and a transition carried out on paper."""
