"""JSON Web Tokens, which an issuer signs and which name their caller.

https://www.rfc-editor.org/rfc/rfc7519
https://www.rfc-editor.org/rfc/rfc8725
"""
