"""What Schemathesis cannot be told in schemathesis.toml."""

import itertools

import schemathesis

KEY = "Idempotency-Key"
numbers = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    """Gives each request a key of its own, as clients do: the same key for another request is refused, and rightly so.

    Keys that are none are left as they are.
    """
    headers = case.headers or {}
    key = headers.get(KEY)
    if isinstance(key, str) and 1 <= len(key) <= 128 and key.isascii() and key.isprintable() and key == key.strip():
        headers[KEY] = f"{key[:100]}-{next(numbers)}"
