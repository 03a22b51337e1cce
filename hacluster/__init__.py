"""The ground every process of the cluster manager stands on: vocabulary, errors, wire types, plumbing."""

VERSION = "0.1.0"
