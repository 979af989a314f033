"""The service provider of SAML 2.0: people whom an identity provider vouches for in XML."""
