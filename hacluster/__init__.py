"""The ground every process of the cluster manager stands on: vocabulary, errors, wire types, plumbing."""

import os

VERSION = "0.1.0"

# Both before gRPC is imported anywhere. Its fork handlers spam and abort; as Python gRPC knows no lowest
# version of TLS, the only suite for 1.2 is one that needs a key agreed on beforehand, which there is none of:
# 1.3 is what is left.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-AES128-CBC-SHA"
