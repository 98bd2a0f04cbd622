"""Federation: people who prove who they are with an account at Apple, Google or another OpenID provider."""
