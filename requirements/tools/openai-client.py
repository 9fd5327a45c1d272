"""Tries /api/v1 with OpenAI's client for Python, and prints what it was given as JSON. Its twin is openai-client.mjs.

Arguments: base URL and key of a service whose model is scripted, and of one whose model is down and that takes two turns a
minute.
"""

import json
import sys

import openai
from openai import OpenAI

base_url, key, broken_url, broken_key = sys.argv[1:5]
MODEL = "pluckit-stylist"
client = OpenAI(base_url=base_url, api_key=key, max_retries=0)
broken = OpenAI(base_url=broken_url, api_key=broken_key, max_retries=0)


def said(content):
    return {"model": MODEL, "messages": [{"role": "user", "content": content}]}


def failure(work):
    try:
        work()
    except openai.APIError as error:
        status = getattr(error, "status_code", None)
        kind = type(error).__name__
        return {"kind": kind, "status": status, "code": error.code, "param": error.param, "type": error.type}
    raise AssertionError("an error was expected")


def usage_of(usage):
    names = ["prompt_tokens", "completion_tokens", "total_tokens"]
    return None if usage is None else {name: getattr(usage, name) for name in names}


def streamed(**body):
    text, finish, usage = "", None, None
    for chunk in client.chat.completions.create(**body, stream=True):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
        usage = chunk.usage or usage
    return {"text": text, "finish": finish, "usage": usage_of(usage)}


def create(on=client, **body):
    return lambda: on.chat.completions.create(**body)


results = {
    "models": [model.id for model in client.models.list().data],
    "model": client.models.retrieve(MODEL).owned_by,
}
whole = client.chat.completions.create(**said("What do I own?"))
results["whole"] = {
    "text": whole.choices[0].message.content,
    "role": whole.choices[0].message.role,
    "finish": whole.choices[0].finish_reason,
    "usage": usage_of(whole.usage),
}
results["streamed"] = streamed(**said("What do I own?"))
results["counted"] = streamed(**said("What do I own?"), stream_options={"include_usage": True})
results["tools"] = streamed(**said("What do I own?"), metadata={"show_tools": "true"})

TOOLS = [{"type": "function", "function": {"name": "x"}}]
results["errors"] = {
    "n": failure(create(**said("Hello"), n=2)),
    "tools": failure(create(**said("Hello"), tools=TOOLS)),
    "model": failure(create(**{**said("Hello"), "model": "gpt-5"})),
    "retrieve": failure(lambda: client.models.retrieve("gpt-5")),
    "path": failure(lambda: client.embeddings.create(model=MODEL, input="x")),
    "key": failure(lambda: OpenAI(base_url=base_url, api_key="pat-x", max_retries=0).models.list()),
    "type": failure(create(**said(7))),
    "large": failure(create(**said("x" * 1024 * 1024))),
    "down": failure(create(on=broken, **said("Hello"))),
    "amid": failure(lambda: list(broken.chat.completions.create(**said("Hello"), stream=True))),
    "limit": failure(create(on=broken, **said("Hello"))),
}
# The name of the class for a status without one of its own differs between the clients.
del results["errors"]["large"]["kind"]

# Leaves in the middle of an answer that never ends.
results["left"] = ""
with client.chat.completions.create(**said("Go on for ever"), stream=True) as endless:
    for chunk in endless:
        results["left"] += chunk.choices[0].delta.content or ""
        if results["left"].endswith("two "):
            break
print(json.dumps(results))
