"""Proxy events, as API Gateway makes them from the requests of an app."""

from typing import Any

_GATEWAY_FIELDS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate, br",
    "User-Agent": "ExampleApp/4.2 (Android 16)",
    "X-Amzn-Trace-Id": "Root=1-68f0c9a1-1f2e3d4c5b6a79880f1e2d3c",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Proto": "https",
}
"""The headers that an app's HTTP library and API Gateway add to every request."""


def event(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> dict[str, Any]:
    """Make a proxy event as API Gateway does."""
    headers = {**_GATEWAY_FIELDS, **headers}
    return {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": path,
            "httpMethod": method,
            "path": f"/api{path}",
            "stage": "api",
            "requestId": "bench",
            "identity": {"sourceIp": "127.0.0.1"},
            "domainName": "api.example.com",
        },
        "body": body.decode() or None,
        "isBase64Encoded": False,
    }
