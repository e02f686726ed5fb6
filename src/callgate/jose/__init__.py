"""Signed tokens of others, checked, and our own, signed (JOSE: RFC 7515, 7517, 7519, 8725), on joserfc.

This package must never know of people, of OAuth flows or of the store: it says whether a token is an issuer's and for
whom, and nothing of what that is good for. Fail closed: an algorithm that is not on the list (`none` and every
symmetric one are not), a key that is not the issuer's, a claim that is missing or does not fit: `WrongToken`.
"""
