"""CSV export: whole, one page at a time, and harmless in a spreadsheet."""

import csv
import io
from collections.abc import AsyncIterator

import msgspec
import pytest

from callgate.audit.export import csv_chunks


class Row(msgspec.Struct, frozen=True):
    name: str | None
    size: int | None


async def exported(*pages: list[Row]) -> list[bytes]:
    async def given() -> AsyncIterator[list[Row]]:
        for page in pages:
            yield page

    return [chunk async for chunk in csv_chunks(given(), ("name", "size"))]


async def test_a_header_then_one_chunk_a_page() -> None:
    chunks = await exported([Row("a", 1), Row(None, None)], [], [Row("b", 2)])
    assert chunks == [b"name,size\r\n", b"a,1\r\n,\r\n", b"b,2\r\n"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0"])
async def test_no_cell_begins_like_a_formula(text: str) -> None:
    data = b"".join(await exported([Row(text, -5)]))
    ((name, size),) = list(csv.reader(io.StringIO(data.decode(), newline="")))[1:]
    assert name == "'" + text
    assert size == "-5"


async def test_commas_quotes_and_lines_inside_a_cell_stay_inside() -> None:
    odd = 'a,"b"\r\nc, ünï \ud800'
    data = b"".join(await exported([Row(odd, 1)]))
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert rows[1] == [odd.replace("\ud800", "?"), "1"]
