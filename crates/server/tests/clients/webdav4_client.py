"""The PyPI package webdav4 on a folder of a box: reads URL, name and password from its first argument, and prints what it saw."""

import io
import json
import sys

from webdav4.client import Client, ResourceAlreadyExists

given = json.loads(sys.argv[1])
client = Client(given["url"], auth=(given["user"], given["password"]))
seen = {}

client.mkdir("My Documents")
client.mkdir("My Documents/日本語 😀")
client.upload_fileobj(io.BytesIO(b"first"), "My Documents/note one.txt")
try:
    client.upload_fileobj(io.BytesIO(b"second"), "My Documents/note one.txt", overwrite=False)
    seen["refused"] = False
except ResourceAlreadyExists:
    seen["refused"] = True
client.upload_fileobj(io.BytesIO(b""), "My Documents/empty")
seen["listed"] = sorted(client.ls("My Documents", detail=False))
seen["walked"] = sorted(
    path
    for folder in ["My Documents"]
    for path in client.ls(folder, detail=False)
    if client.isdir(path)
)
seen["length"] = client.content_length("My Documents/note one.txt")
seen["modified"] = client.modified("My Documents/note one.txt") is not None
seen["etag"] = bool(client.etag("My Documents/note one.txt"))
seen["exists"] = [client.exists("My Documents/empty"), client.exists("nothing here")]
client.move("My Documents/note one.txt", "My Documents/note two.txt")
read = io.BytesIO()
client.download_fileobj("My Documents/note two.txt", read)
seen["moved"] = read.getvalue().decode()
client.remove("My Documents/note two.txt")
seen["left"] = sorted(client.ls("My Documents", detail=False))
print(json.dumps(seen))
