"""The ground every process of the cluster manager stands on: vocabulary, errors, wire types, plumbing."""
