"""Regenerate hacluster/v1 from the .proto files: `python proto/generate.py [OUTPUT_ROOT]`."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

SOURCE = Path(__file__).resolve().parent


def generate(output: Path) -> int:
    """Write OUTPUT/hacluster/v1; the exit code is protoc's."""
    target = output / "hacluster" / "v1"
    target.mkdir(parents=True, exist_ok=True)
    scripts = Path(sys.executable).parent
    plugins = [
        f"--plugin=protoc-gen-{name}={scripts / f'protoc-gen-{name}'}" for name in ("mypy", "mypy_grpc")
    ]
    files = sorted(str(path) for path in SOURCE.glob("hacluster/v1/*.proto"))
    include = Path(grpc_tools.__file__).parent / "_proto"
    arguments = [
        "protoc",
        f"-I{SOURCE}",
        f"-I{include}",
        *plugins,
        f"--python_out={output}",
        f"--grpc_python_out={output}",
        f"--mypy_out=readable_stubs:{output}",
        f"--mypy_grpc_out=only_async,readable_stubs:{output}",
        *files,
    ]
    code: int = protoc.main(arguments)
    (target / "__init__.py").write_text('"""Generated from proto/hacluster/v1; never edited."""\n')
    return code


if __name__ == "__main__":
    assert sysconfig.get_python_version() >= "3.11"
    sys.exit(generate(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE.parent))
