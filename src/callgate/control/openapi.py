"""The OpenAPI 3.1 document, built from the operations and the permission table that the API itself runs on.

Nothing here is written twice: types come from msgspec, patterns from `fields`, statuses from the error table.
"""

from collections.abc import Iterable, Mapping

import msgspec

from callgate import __version__
from callgate.control.fields import PATH_PATTERNS
from callgate.control.operations import Operation
from callgate.control.permissions import PREFIX, TABLE, Need
from callgate.control.problem import MEDIA_TYPE, Problem
from callgate.errors import ERRORS

Json = dict[str, object]
_REF = "#/components/schemas/{name}"
_EVERYWHERE = ("validation", "bad_host", "bad_origin", "store_unavailable")
_WITH_IDENTITY = ("auth_required", "forbidden", "not_found")
_WITH_BODY = ("parse_error", "body_too_large", "unsupported_media_type")


def document(operations: Iterable[Operation]) -> Json:
    """The whole document, JSON values only."""
    listed = list(operations)
    kinds = [one.returns for one in listed if one.returns is not None and one.returns is not dict]
    kinds += [one.body for one in listed if one.body is not None] + [Problem]
    kinds += [one.query for one in listed]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    by_kind = {repr(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    paths: dict[str, Json] = {}
    for one in listed:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, by_kind, components)
    unused = {one.query.__name__ for one in listed}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Callgate control API",
            "version": __version__,
            "description": "What the command line and the console do goes through this API.",
        },
        "servers": [{"url": PREFIX}],
        "components": {
            "schemas": {name: schema for name, schema in components.items() if name not in unused},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "paths": paths,
    }


def statuses(one: Operation, need: Need) -> dict[str, list[str]]:
    """HTTP status → error codes that an operation may answer with."""
    codes: list[str] = [*_EVERYWHERE, *one.errors]
    if need.roles is not None:
        codes += _WITH_IDENTITY
    if one.parameters:
        codes.append("not_found")
    if one.body is not None:
        codes += _WITH_BODY
    if one.method == "POST":
        codes.append("conflict")  # an Idempotency-Key that was used for another request
    found: dict[str, list[str]] = {}
    for code in dict.fromkeys(codes):
        status = ERRORS[code].http if ERRORS[code].http >= 400 else 409
        found.setdefault(str(status), []).append(code)
    return found


def _operation(one: Operation, schemas: Mapping[str, Json], components: Mapping[str, Json]) -> Json:
    need = TABLE[(one.method, one.path)]
    described: Json = {
        "operationId": f"{one.method.lower()}_{'_'.join(_words(one.path))}",
        "summary": one.summary,
        "tags": [one.resource.removeprefix("/")],
        "parameters": [*_path_parameters(one), *_query_parameters(one, components, need), *_headers(one)],
        "responses": {**_success(one, schemas), **_failures(one, need)},
        "security": [{"token": []}] if need.roles is not None else [],
        "x-permission": need.permission,
        "x-roles": sorted(need.roles or ()),
    }
    if one.body is not None:
        content = {"application/json": {"schema": schemas[repr(one.body)]}}
        described["requestBody"] = {"required": not one.body_optional, "content": content}
    return described


def _words(path: str) -> list[str]:
    return [part.strip("{}").replace(".", "_") for part in path.split("/") if part]


def _path_parameters(one: Operation) -> list[Json]:
    patterns = PATH_PATTERNS.get(one.resource, {})
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": patterns[name]}}
        for name in one.parameters
    ]


def _query_parameters(one: Operation, components: Mapping[str, Json], need: Need) -> list[Json]:
    schema = components.get(one.query.__name__, {})
    properties = schema.get("properties", {})
    found: list[Json] = []
    if isinstance(properties, dict):
        for name, kind in properties.items():
            found.append({"name": name, "in": "query", "required": False, "schema": _without_null(kind)})
    if need.roles is not None:
        tenant: Json = {"name": "tenant", "in": "query", "required": False, "schema": {"type": "string"}}
        found.append({**tenant, "description": "Which tenant to act on; only the operator may name another one."})
    return found


def _without_null(kind: Json) -> Json:
    options = kind.get("anyOf")
    if not isinstance(options, list):
        return {key: value for key, value in kind.items() if not (key == "default" and value is None)}
    rest = [one for one in options if one != {"type": "null"}]
    return rest[0] if len(rest) == 1 else {"anyOf": rest}


def _headers(one: Operation) -> list[Json]:
    if one.method != "POST":
        return []
    schema = {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,128}$"}
    text = "The same key with the same request gives the same answer and acts once, for 24 hours."
    return [{"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema, "description": text}]


def _success(one: Operation, schemas: Mapping[str, Json]) -> Json:
    if one.status == 204:
        return {"204": {"description": "Done."}}
    if one.returns is None:
        schema: Json = {"type": "string"}
    else:
        schema = {"type": "object"} if one.returns is dict else schemas[repr(one.returns)]
    return {str(one.status): {"description": "Done.", "content": {one.media_type: {"schema": schema}}}}


def _failures(one: Operation, need: Need) -> Json:
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}}
    return {
        status: {"description": "Problem: " + ", ".join(codes) + ".", "content": content}
        for status, codes in sorted(statuses(one, need).items())
    }
