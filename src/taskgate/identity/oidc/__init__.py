"""Identity providers that speak OpenID Connect, and tokens that they or CI systems sign."""
