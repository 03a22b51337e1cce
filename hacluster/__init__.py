"""The ground every process of the cluster manager stands on: vocabulary, errors, wire types, plumbing."""

import os
import sys

VERSION = "0.1.0"

# Both before gRPC is imported anywhere. Its fork handlers spam and abort; as Python gRPC knows no lowest
# version of TLS, the only suite for 1.2 is one that needs a key agreed on beforehand, which there is none of:
# 1.3 is what is left.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-AES128-CBC-SHA"

# structlog imports rich for tracebacks in colour where it is there, and rich takes as long as the rest of
# structlog, grpc and lxml together: CPU time of every start of a daemon and of hacli.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # None is "not there"; typeshed lacks it
