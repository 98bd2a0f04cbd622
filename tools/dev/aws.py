"""An emulated AWS to rehearse ``make plan`` and ``make deploy``: ``python -m tools.dev.aws [PORT]``.

It is moto on loopback, with some calls that moto lacks. It keeps everything in memory, accepts any credentials, and
runs no function. So ``make deploy`` skips its step 6, the test of a login.
"""

import contextlib
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

from tools.dev.engine import REGION, over_http
from tools.dev.port import read_port


@contextlib.contextmanager
def emulated(port: int = 0) -> Iterator[str]:
    """Serve AWS on loopback within this context, and yield its URL.

    This function adds four features to moto:

    - APIs described in Swagger 2
    - the flag that protects a stack from deletion: moto stores the flag, but still deletes the stack
    - exports of stacks
    - KMS keys whose policy comes from CloudFormation
    """
    from moto.apigateway.models import APIGatewayBackend  # noqa: PLC0415 - moto is slow to import
    from moto.cloudformation.models import CloudFormationBackend  # noqa: PLC0415
    from moto.cloudformation.responses import CloudFormationResponse  # noqa: PLC0415
    from moto.core.responses import EmptyResult  # noqa: PLC0415
    from moto.kms.models import KmsBackend  # noqa: PLC0415

    stock_import, stock_put = APIGatewayBackend.import_rest_api, APIGatewayBackend.put_rest_api
    stock_key, stock_execute = KmsBackend.create_key, CloudFormationBackend.execute_change_set

    def as_openapi(described: dict[str, Any]) -> dict[str, Any]:
        rest = {name: value for name, value in described.items() if name != "swagger"}
        return {**rest, "openapi": "3.0.1", "info": {"description": "", **described["info"]}}

    def import_rest_api(backend: Any, api_doc: dict[str, Any], fail_on_warnings: bool) -> Any:  # noqa: ANN401, FBT001 - the signature of moto
        return stock_import(backend, as_openapi(api_doc), fail_on_warnings)

    def put_rest_api(backend: Any, function_id: str, api_doc: dict[str, Any], **named: Any) -> Any:  # noqa: ANN401 - the signature of moto
        return stock_put(backend, function_id, as_openapi(api_doc), **named)

    def protect(response: Any) -> EmptyResult:  # noqa: ANN401 - the signature of moto
        stack = response.cloudformation_backend.get_stack(response._get_param("StackName"))
        stack.enable_termination_protection = response._get_param("EnableTerminationProtection")
        return EmptyResult()

    def create_key(backend: Any, policy: Any, *rest: Any, **named: Any) -> Any:  # noqa: ANN401 - the signature of moto
        return stock_key(backend, json.dumps(policy) if isinstance(policy, dict) else policy, *rest, **named)

    def execute_change_set(backend: Any, change_set_name: str, stack_name: str) -> None:  # noqa: ANN401 - the signature of moto
        stack = backend.get_stack(stack_name)
        stack.resource_map.cross_stack_resources = backend.exports
        stock_execute(backend, change_set_name, stack_name)
        stack._parse_template()
        stack.output_map = stack._create_output_map()
        backend.exports.update({export.name: export for export in stack.exports})

    with (
        patch.object(CloudFormationBackend, "execute_change_set", execute_change_set),
        patch.object(KmsBackend, "create_key", create_key),
        patch.object(CloudFormationResponse, "update_termination_protection", protect, create=True),
        patch.object(APIGatewayBackend, "import_rest_api", import_rest_api),
        patch.object(APIGatewayBackend, "put_rest_api", put_rest_api),
        over_http(port) as url,
    ):
        yield url


def main(arguments: Sequence[str]) -> int:
    """Serve the emulated AWS until interrupted. The first argument, if any, is the port: the default is 5000."""
    # moto does not support backup plans, and warns about each plan twice.
    logging.getLogger("moto").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="Tried to parse AWS::Backup")
    with emulated(read_port(arguments[0]) if arguments else 5000) as url:
        print(f"emulated AWS  {url} (moto, in memory)")
        print(f"next          export AWS_ENDPOINT_URL={url} AWS_DEFAULT_REGION={REGION}")
        print("              export AWS_ACCESS_KEY_ID=rehearsal AWS_SECRET_ACCESS_KEY=rehearsal")
        print("              make deploy STAGE=dev, in a second checkout: docs/baton/operations.md", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
