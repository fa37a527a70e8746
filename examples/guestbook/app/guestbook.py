"""A guestbook over HTTP.

usage: guestbook.py          serve on port 8000
       guestbook.py check    exit with 0 when a served instance is well

  GET  /          a page for people
  GET  /entries   the newest entries as JSON
  POST /entries   form fields `name` and `text`: a new entry, answered as JSON
  GET  /health    200 when the database and the counter answer
"""

import html
import json
import os
import sys
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8000
LONGEST = 10_000  # bytes of a posted form

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Guestbook</title>
<h1>Guestbook</h1>
<form method="post" action="/entries">
  <input name="name" placeholder="Name" required>
  <input name="text" placeholder="Say something" required>
  <button>Sign</button>
</form>
<ul>%s</ul>
<p>Seen %d times.</p>
"""


class Guestbook:
    """The entries in PostgreSQL, the counter in Redis."""

    def __init__(self):
        import redis

        self.cache = redis.Redis(os.environ.get("REDIS_HOST", "cache"), socket_timeout=5)
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS entries"
                " (id serial PRIMARY KEY, name text, text text, at timestamptz DEFAULT now())"
            )

    def connect(self):
        # One connection for each request: after the database was restarted
        # there is none that has gone stale.
        import psycopg2

        return psycopg2.connect(
            host=os.environ.get("DATABASE_HOST", "db"),
            dbname=os.environ.get("DATABASE_NAME", "guestbook"),
            user=os.environ.get("DATABASE_USER", "guestbook"),
            password=os.environ["DATABASE_PASSWORD"],
            connect_timeout=5,
        )

    def query(self, sql, arguments=()):
        connection = self.connect()
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql, arguments)
                return cursor.fetchall()
        finally:
            connection.close()

    def add(self, name, text):
        sql = "INSERT INTO entries (name, text) VALUES (%s, %s) RETURNING id, name, text"
        return self.entry(self.query(sql, (name, text))[0])

    def newest(self):
        rows = self.query("SELECT id, name, text FROM entries ORDER BY id DESC LIMIT 100")
        return [self.entry(row) for row in rows]

    def check(self):
        self.query("SELECT 1")
        self.cache.ping()

    @staticmethod
    def entry(row):
        return {"id": row[0], "name": row[1], "text": row[2]}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    book: Guestbook

    def do_GET(self):
        try:
            if self.path == "/":
                seen = self.book.cache.incr("seen")
                lines = "".join(
                    f"<li><b>{html.escape(e['name'])}</b>: {html.escape(e['text'])}</li>"
                    for e in self.book.newest()
                )
                self.answer(200, PAGE % (lines, seen), "text/html; charset=utf-8")
            elif self.path == "/entries":
                self.answer(200, self.book.newest())
            elif self.path == "/health":
                self.book.check()
                self.answer(200, {"status": "ok"})
            else:
                self.answer(404, {"error": "not found"})
        except Exception as error:
            self.answer(503, {"error": str(error).strip()})

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/entries" or not 0 < length <= LONGEST:
            return self.answer(400, {"error": "post a short form to /entries"})
        form = urllib.parse.parse_qs(self.rfile.read(length).decode(errors="replace"))
        try:
            entry = self.book.add(form["name"][0], form["text"][0])
        except KeyError as missing:
            return self.answer(400, {"error": f"the field {missing} is missing"})
        except Exception as error:
            return self.answer(503, {"error": str(error).strip()})
        print(f"entry {entry['id']} by {entry['name']}")
        if "text/html" in self.headers.get("Accept", ""):
            self.send_response(303)
            self.send_header("Location", "/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.answer(201, entry)

    def answer(self, status, body, kind="application/json"):
        data = (body if isinstance(body, str) else json.dumps(body) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, form, *arguments):
        if self.path != "/health":
            super().log_message(form, *arguments)


def main():
    if sys.argv[1:] == ["check"]:
        urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=8).read()
        return
    Handler.book = Guestbook()
    print(f"guestbook: serving on port {PORT}")
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()


if __name__ == "__main__":
    main()
