"""Settings: everything that is wrong is named at once, and nothing unsafe starts."""

import pytest

from chalicelib.settings import SettingsProblems, read_settings

GOOD = {
    "BATON_ISSUER": "https://api.example.com/api",
    "BATON_TABLE_PREFIX": "baton-prod",
    "BATON_KEY_RING": "kms:alias/baton",
}


def problems(**environ: str) -> list[str]:
    """Read settings that must be refused."""
    with pytest.raises(SettingsProblems) as refused:
        read_settings(GOOD | environ)
    return refused.value.problems


def test_a_few_settings_are_enough() -> None:
    """The rest has safe defaults: throttles on, no origins, the issuer's own host."""
    settings = read_settings(GOOD)
    assert settings.authorities == {"api.example.com"}
    assert settings.audience == settings.issuer
    assert settings.limits
    assert not settings.development
    assert not settings.revoke_on_foreign_key
    assert settings.origins == ()


@pytest.mark.promise(9)
def test_all_problems_are_named_at_once() -> None:
    """An operator mends them in one go."""
    with pytest.raises(SettingsProblems) as refused:
        read_settings({"BATON_LIMITS": "perhaps", "BATON_LOG_LEVEL": "LOUD", "BATON_ORIGINS": "*"})
    for name in ("ISSUER", "TABLE_PREFIX", "KEY_RING", "LIMITS", "LOG_LEVEL", "ORIGINS"):
        assert f"BATON_{name}" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BATON_ISSUER", "http://api.example.com/api"),
        ("BATON_ISSUER", "http://localhost:8000/api"),
        ("BATON_ISSUER", "https://api.example.com/"),
        ("BATON_ISSUER", "https://api.example.com/api?x"),
        ("BATON_ISSUER", "api.example.com"),
        ("BATON_AUTHORITIES", "API.example.com"),
        ("BATON_AUTHORITIES", "https://api.example.com"),
        ("BATON_TABLE_PREFIX", "a b"),
        ("BATON_KEY_RING", "local"),
        ("BATON_KEY_RING", "kms:"),
        ("BATON_LIMITS", "off"),
        ("BATON_ORIGINS", "https://app.example.com/path"),
        ("BATON_RESOURCE_SERVERS", "billing"),
        ("BATON_RESOURCE_SERVERS", "billing:the-secret-itself"),
    ],
)
def test_what_is_wrong_or_unsafe_does_not_start(name: str, value: str) -> None:
    """And a secret written in the wrong place is not repeated."""
    (problem,) = problems(**{name: value})
    assert name in problem
    assert "the-secret-itself" not in problem


def test_development_settings_do_not_start_inside_lambda() -> None:
    """Unwrapped keys and missing throttles stay on a developer's machine."""
    local = {"BATON_DEVELOPMENT": "1", "BATON_KEY_RING": "local", "BATON_LIMITS": "off"}
    assert not read_settings(GOOD | local).limits
    (problem,) = problems(**local, AWS_LAMBDA_RUNTIME_API="127.0.0.1:9001")
    assert "BATON_DEVELOPMENT" in problem
