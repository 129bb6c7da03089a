"""Bodies of the gateway's own answers, and the two ways their type is chosen (Kong's proxying contract, section 6)."""

import pytest

from kongdp.proxy.respond import HTML, JSON, PLAIN, XML, ErrorPages, negotiate, own_response, type_for_nginx_error

ID = b"0123456789abcdef0123456789abcdef"

ACCEPTS = [
    # (Accept lines, producer K, producer N without Content-Type)
    ([], None, PLAIN),
    ([b"*/*"], JSON, JSON),
    ([b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], HTML, HTML),
    ([b"application/json"], JSON, JSON),
    ([b"text/plain"], PLAIN, PLAIN),
    ([b"text/*"], PLAIN, PLAIN),
    ([b"application/xml"], XML, XML),
    ([b"application/*"], JSON, JSON),
    ([b"image/png"], JSON, JSON),
    ([b"text/html;q=0.1, application/xml;q=0.5"], XML, XML),
    ([b"text/html;q=0.5, application/xml;q=0.5"], HTML, HTML),
    ([b"text/html;q=0"], JSON, JSON),
    ([b"text/html;q=x"], JSON, JSON),
    ([b"application/xml;q=0.1", b"text/html"], HTML, HTML),
    ([b""], JSON, JSON),
]


@pytest.mark.parametrize(("accept", "of_kong", "of_nginx"), ACCEPTS)
def test_type_when_the_client_accepts(accept: list[bytes], of_kong: str | None, of_nginx: str) -> None:
    """The highest quality wins, the first of equals; unknown types get JSON; no Accept leaves it to the producer."""
    assert negotiate(accept) == of_kong
    assert type_for_nginx_error(accept, None, PLAIN) == of_nginx


@pytest.mark.parametrize(
    ("content_type", "default", "chosen"),
    [
        (b"application/json", PLAIN, JSON),
        (b"text/html; charset=x", PLAIN, HTML),
        (None, XML, XML),
        (b"image/png", PLAIN, JSON),
    ],
)
def test_type_when_only_the_request_has_one(content_type: bytes | None, default: str, chosen: str) -> None:
    """nginx's errors follow the request's Content-Type where there is no Accept, then error_default_type."""
    assert type_for_nginx_error([], content_type, default) == chosen


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (JSON, b'{\n  "message":"M \\"%s\\"",\n  "request_id":"' + ID + b'"\n}'),
        (PLAIN, b'M \\"%s\\"\nrequest_id: ' + ID + b"\n"),
        (
            XML,
            b'<?xml version="1.0" encoding="UTF-8"?>\n<error>\n  <message>M \\"%s\\"</message>\n  <requestid>'
            + ID
            + b"</requestid>\n</error>\n",
        ),
    ],
)
def test_body_when_the_message_has_odd_characters(media_type: str, body: bytes) -> None:
    """The message stands in it as it is; a percent sign in it is no place for anything."""
    assert ErrorPages().body(media_type, 'M \\"%s\\"', ID) == body


def test_body_when_a_template_is_set() -> None:
    """error_template_*: two places, message and request id."""
    pages = ErrorPages(templates={JSON: '{"m":"%s","id":"%s"}'})
    assert pages.body(JSON, "no", ID) == b'{"m":"no","id":"' + ID + b'"}'
    assert pages.body(PLAIN, "no", ID) == b"no\nrequest_id: " + ID + b"\n"


@pytest.mark.parametrize("head_only", [False, True])
@pytest.mark.parametrize("keep_alive", [False, True])
def test_answer_when_written(head_only: bool, keep_alive: bool) -> None:
    """HEAD gets every field, the length too, and no body."""
    data = own_response(
        404,
        b"body",
        b"text/plain",
        date_line=b"Date: x\r\n",
        lines=b"A: b\r\n",
        keep_alive=keep_alive,
        head_only=head_only,
    )
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 404 Not Found",
        b"Date: x",
        b"Content-Type: text/plain",
        b"Content-Length: 4",
        b"Connection: keep-alive" if keep_alive else b"Connection: close",
        b"A: b",
    ]
    assert body == (b"" if head_only else b"body")
