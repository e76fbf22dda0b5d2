"""What a program on pyodata does with an OData collection. Given: the service root and a token.

The collection has the entity types Author (name) and Book (title, pages, price, printed), an Author has many Books."""

import datetime
import json
import sys

import pyodata
import requests
from pyodata.exceptions import HttpError
from pyodata.v2.model import Config
from pyodata.v2.service import GetEntitySetFilter as Filter

given = json.loads(sys.argv[1])
session = requests.Session()
session.headers["Authorization"] = f"Bearer {given['token']}"
# pyodata names no version by itself, and units answer such clients as they have always done.
session.headers["MaxDataServiceVersion"] = "2.0"
library = pyodata.Client(given["service"], session, config=Config(retain_null=True))
authors, books = library.entity_sets.Author, library.entity_sets.Book


def refused(status, call):
    """The call must be refused with this status. Gives the body."""
    try:
        result = call()
    except HttpError as refusal:
        assert refusal.response.status_code == status, refusal.response.content
        return refusal.response
    raise AssertionError(f"not refused: {result}")


def ids(entities):
    return [getattr(entity, "__id") for entity in entities]


# The metadata document.
types = {entity_type.name for entity_type in library.schema.entity_types}
assert {"Author", "Book"} <= types, types
properties = {p.name: p.typ.name for p in library.schema.entity_type("Book").proprties()}
wanted = {
    "__id": "Edm.String",
    "title": "Edm.String",
    "pages": "Edm.Int32",
    "price": "Edm.Double",
    "printed": "Edm.DateTime",
}
assert wanted.items() <= properties.items(), properties
navigations = {n.name for n in library.schema.entity_type("Author").nav_proprties}
assert navigations == {"_Book"}, navigations
print("metadata")

# Creation, reading, changing, removal.
printed = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
ann = authors.create_entity().set(**{"__id": "ann", "name": "Ann"}).execute()
assert (getattr(ann, "__id"), ann.name) == ("ann", "Ann")
bound = {"__id": "first one", "title": "One", "pages": 1, "price": 1.5, "printed": printed}
one = books.create_entity().set(**bound).execute()
assert (one.title, one.pages, one.price, one.printed) == ("One", 1, 1.5, printed)
found = books.get_entity("first one").execute()
assert (found.title, found.printed) == ("One", printed)
for method in ["PATCH", "MERGE"]:
    books.update_entity("first one", method=method).set(pages=7).execute()
    found = books.get_entity("first one").execute()
    assert (found.title, found.pages) == ("One", 7), method
books.update_entity("first one", method="PUT").set(title="Only").execute()
found = books.get_entity("first one").execute()
assert (found.title, found.pages) == ("Only", None)
books.delete_entity("first one").execute()
error = refused(404, lambda: books.get_entity("first one").execute())
assert error.json()["error"]["message"]["value"], error.content
print("entities")

# Queries.
for number in range(1, 7):
    book = {"__id": f"b{number}", "title": f"Book {number}", "pages": 100 * number, "price": number / 2}
    books.create_entity().set(**book).execute()
    session.post(
        given["service"] + "Author('ann')/$links/_Book", json={"uri": f"{given['service']}Book('b{number}')"}
    ).raise_for_status()
query = books.get_entities().filter("pages gt 200").order_by("pages desc").skip(1).top(2)
found = query.count(inline=True).execute()
assert (ids(found), found.total_count) == (["b5", "b4"], 4), (ids(found), found.total_count)
assert [book.title for book in found] == ["Book 5", "Book 4"]
found = books.get_entities().filter("title eq 'Book 2' or price ge 3.0").order_by("__id").execute()
assert ids(found) == ["b2", "b6"], ids(found)
found = books.get_entities().filter("startswith(title, 'Book') and substringof('3', title)").execute()
assert ids(found) == ["b3"], ids(found)
filtered = books.get_entities()
filtered = filtered.filter(Filter.and_(filtered.pages > 100, filtered.pages <= 300))
assert ids(filtered.order_by("__id").execute()) == ["b2", "b3"]
assert books.get_entities().count().execute() == 6
assert books.get_entities().filter("pages gt 200").count().execute() == 4
print("queries")

# Navigation and expansion.
found = authors.get_entity("ann").nav("_Book").get_entities().order_by("pages").execute()
assert ids(found) == [f"b{number}" for number in range(1, 7)], ids(found)
ann = authors.get_entity("ann").expand("_Book").execute()
assert sorted(ids(getattr(ann, "_Book"))) == [f"b{number}" for number in range(1, 7)]
print("navigation")

# Batches: reads and a change set.
batch = library.create_batch()
batch.add_request(books.get_entity("b1"))
changes = library.create_changeset()
changes.add_request(books.create_entity().set(**{"__id": "b7", "title": "Seven", "pages": 7}))
changes.add_request(books.update_entity("b1").set(pages=11))
changes.add_request(books.update_entity("b2", method="PUT").set(title="Two"))
changes.add_request(books.delete_entity("b3"))
batch.add_request(changes)
batch.add_request(books.get_entities().filter("pages lt 100").order_by("__id"))
batch.add_request(authors.get_entity("ann").nav("_Book").get_entities().order_by("__id").top(2))
first, changed, few, linked = batch.execute()
assert (first.title, first.pages) == ("Book 1", 100)
created = changed[0]
assert (getattr(created, "__id"), created.title, created.pages) == ("b7", "Seven", 7)
assert ids(few) == ["b1", "b7"], ids(few)
assert ids(linked) == ["b1", "b2"], ids(linked)
print("batch")

# A change set that fails changes nothing.
batch = library.create_batch()
changes = library.create_changeset()
changes.add_request(books.create_entity().set(**{"__id": "b8", "title": "Eight"}))
changes.add_request(books.create_entity().set(**{"__id": "b7", "title": "Taken"}))
batch.add_request(changes)
refused(409, batch.execute)
refused(404, lambda: books.get_entity("b8").execute())
print("failed change set")

print(json.dumps({"done": True}))
