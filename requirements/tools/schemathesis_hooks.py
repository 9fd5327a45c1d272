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


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Describes streams by their events, each of which Schemathesis compares with the schema of the body.

    In the description a stream is a text that has events in it.
    """
    for operations in raw_schema["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                stream = response.get("content", {}).get("text/event-stream")
                if stream is None:
                    continue
                event = stream["schema"]["contentSchema"]
                data = {"type": "string", "contentMediaType": "application/json", "contentSchema": event}
                stream["schema"] = {"type": "object", "properties": {"data": data}, "required": ["data"]}
                stream.pop("example", None)
