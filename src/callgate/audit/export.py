"""The audit as CSV (RFC 4180), safe to open in a spreadsheet.

A cell that a spreadsheet could take for a formula gets an apostrophe before it (OWASP, "CSV Injection"). Streams: no
more than one page is held at a time.
"""

import csv
import io
from collections.abc import AsyncIterable, AsyncIterator, Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


async def csv_chunks(pages: AsyncIterable[Sequence[object]], fields: Sequence[str]) -> AsyncIterator[bytes]:
    """UTF-8 CSV, one chunk a page: a header, then one line per item of the pages, whose attributes are `fields`."""
    yield _lines([fields])
    async for page in pages:
        if page:
            yield _lines([[_cell(getattr(item, name)) for name in fields] for item in page])


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = str(value)
    # numbers are ours: a negative one is no formula
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue().encode("utf-8", "replace")
