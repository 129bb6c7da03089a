"""The values of a field in a head, where nothing was compiled; the compiled module of this name is `_lines.pyx`."""


def find_values(head: bytes, name: bytes) -> list[bytes]:
    """The value of every line of that name (lower case) behind the start line, without the blanks around it."""
    lower = head.lower()
    mark = b"\r\n%b:" % name
    found: list[bytes] = []
    at = lower.find(mark)
    while at >= 0:
        start = at + len(mark)
        end = lower.find(b"\r\n", start)
        if end < 0:
            break
        found.append(head[start:end].strip(b" \t"))
        at = lower.find(mark, end)
    return found
