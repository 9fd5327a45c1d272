"""A small client, made of the package that openapi-python-client generates.

usage: python client.py URL PICTURE (with the package in PYTHONPATH)
"""

import json
import sys
from io import BytesIO
from pathlib import Path

from pluckit_client import Client
from pluckit_client.api.auth import create_token, delete_token
from pluckit_client.api.chat import set_memory, take_turn
from pluckit_client.api.digest import find_latest_digest, run_digest
from pluckit_client.api.health import show_health
from pluckit_client.api.insights import find_vault_insights
from pluckit_client.api.media import process_picture, show_picture
from pluckit_client.api.taste import find_quiz
from pluckit_client.api.wardrobe import find_item, list_wardrobe
from pluckit_client.models import (
    CreateTokenRequest,
    Error,
    PictureForm,
    PlainChatRequest,
    ProcessPictureMode,
    QuizSessionResponse,
    SetMemoryRequest,
)
from pluckit_client.types import File

url, picture = sys.argv[1:]
client = Client(base_url=url)

health = show_health.sync(client=client)
assert health is not None and health.status == "ok", health

page = list_wardrobe.sync(client=client, page_size=5, category="outerwear")
assert page.items, page
item = find_item.sync(page.items[0].id, client=client)
assert item.id == page.items[0].id, item

quiz = find_quiz.sync(client=client)
assert isinstance(quiz, QuizSessionResponse) and quiz.session_id, quiz

insights = find_vault_insights.sync(client=client, window_days=30)
assert insights.cpw_intel, insights

digest = run_digest.sync(client=client, force=True)
assert digest.status == "ok", digest
assert find_latest_digest.sync(client=client).digest.id == digest.digest.id

refused = set_memory.sync_detailed(client=client, body=SetMemoryRequest(summary="x" * 2001))
assert refused.status_code == 400 and isinstance(refused.parsed, Error), refused
assert refused.parsed.detail.startswith("Summary must be"), refused.parsed

token = create_token.sync(client=client, body=CreateTokenRequest(name="Python"))
assert token.token.startswith("pat-"), token
assert delete_token.sync_detailed(token.id, client=client).status_code == 204

photo = File(payload=BytesIO(Path(picture).read_bytes()), file_name="shirt.jpg", mime_type="image/jpeg")
finished = process_picture.sync(client=client, body=PictureForm(image=photo, item_id="python-shirt"), mode=ProcessPictureMode.PLAIN)
container, _, name = finished.image_url.split("/api/media/")[1].partition("/")
webp = show_picture.sync(container, name, client=client)
assert webp.payload.read(4) == b"RIFF", webp

turn = take_turn.sync(client=client, body=PlainChatRequest(message="What should I wear to a casual dinner?"))
events = [json.loads(block[6:]) for block in turn.split("\n\n") if block.startswith("data: ")]
assert events[-1]["type"] == "done", events
assert "Shoes: your" in "".join(event["content"] for event in events if event["type"] == "token"), events
