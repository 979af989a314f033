"""PATCH (RFC 7644 section 3.5.2): add, replace and remove, with paths and value filters. Pure."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from taskgate.identity.scim.faults import (
    bad_path,
    bad_syntax,
    bad_value,
    immutable,
    no_target,
)
from taskgate.identity.scim.filters import (
    AttributePath,
    Both,
    Compare,
    Filter,
    Target,
    matches,
    parse_target,
)
from taskgate.identity.scim.schemas import Attribute, ResourceKind, Schema, checked, names_schema
from taskgate.model import limits

PATCH_OP: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_OPS: Final = frozenset({"add", "replace", "remove"})


def patched(kind: ResourceKind, resource: Mapping[str, Any], body: Any) -> dict[str, Any]:
    """`resource` (as `schemas.cleaned` makes it) after all operations, or an error and nothing.

    Raises: ScimFault.
    """
    if not isinstance(body, Mapping) or not names_schema(body, PATCH_OP):
        raise bad_syntax(f"schemas must name {PATCH_OP}")
    operations = next((v for k, v in body.items() if k.lower() == "operations"), None)
    if not isinstance(operations, list) or not operations:
        raise bad_syntax("Operations is a list, and not empty")
    if len(operations) > limits.MAX_SCIM_OPERATIONS:
        raise bad_value(f"more than {limits.MAX_SCIM_OPERATIONS} operations")
    result = deepcopy(dict(resource))
    for operation in operations:
        if not isinstance(operation, Mapping):
            raise bad_syntax("an operation is an object")
        op = str(operation.get("op", "")).lower()
        if op not in _OPS:
            raise bad_syntax("op is add, replace or remove")
        path, value = operation.get("path"), operation.get("value")
        if path is not None and not isinstance(path, str):
            raise bad_path("a path is a text")
        if path:
            _apply(kind, result, op, path, value)
        elif op == "remove":
            raise no_target("remove needs a path")
        elif not isinstance(value, Mapping):
            raise bad_value("without a path, the value is an object")
        else:
            for key, item in value.items():
                if key.lower() not in ("schemas", "id", "meta"):
                    _apply(kind, result, op, str(key), item)
    for attribute in kind.schema.attributes:
        if attribute.required and not result.get(attribute.name):
            raise bad_value(f"{attribute.name} is required")
    return result


def _apply(kind: ResourceKind, result: dict[str, Any], op: str, path: str, value: Any) -> None:
    extension = kind.extension(path)
    if extension is not None:
        _whole_extension(kind, result, op, extension, value)
        return
    target = parse_target(path)
    attribute = kind.find(target.path.schema, target.path.name)
    if attribute is None:
        raise bad_path(f"there is no attribute {path[:200]}")
    part = attribute.part(target.path.sub) if target.path.sub else None
    if target.path.sub and part is None:
        raise bad_path(f"there is no attribute {path[:200]}")
    if attribute.read_only or (part is not None and part.read_only):
        raise immutable(f"{path[:200]} is read-only")
    if target.only is not None and not attribute.many:
        raise bad_path(f"{attribute.name} has one value, which cannot be filtered")
    holder = _holder(kind, result, target.path)
    if target.only is not None or (part is not None and attribute.many):
        _some(holder, attribute, part, op, target, value)
    elif part is not None:
        _part(holder, attribute, part, op, value)
    else:
        _attribute(holder, attribute, op, value)
    _tidy(kind, result)


def _whole_extension(
    kind: ResourceKind, result: dict[str, Any], op: str, extension: Schema, value: Any
) -> None:
    if op == "remove":
        result.pop(extension.id, None)
        return
    if not isinstance(value, Mapping):
        raise bad_value("an extension's value is an object")
    if op == "replace":
        result.pop(extension.id, None)
    for name, item in value.items():
        if name.lower() != "schemas":
            _apply(kind, result, "add", f"{extension.id}:{name}", item)


def _holder(kind: ResourceKind, result: dict[str, Any], path: AttributePath) -> dict[str, Any]:
    extension = kind.extension(path.schema) if path.schema else None
    if extension is None:
        return result
    inner: dict[str, Any] = result.setdefault(extension.id, {})
    return inner


def _attribute(holder: dict[str, Any], attribute: Attribute, op: str, value: Any) -> None:
    name = attribute.name
    if op == "remove" and value is None:
        holder.pop(name, None)
        return
    if op == "remove":
        # Some providers name the values to remove instead of filtering them.
        gone = checked(attribute, value)
        if not attribute.many:
            holder.pop(name, None)
            return
        values = {_value(one) for one in gone}
        holder[name] = [one for one in holder.get(name, ()) if _value(one) not in values]
        return
    if value is None:
        holder.pop(name, None)
        return
    made = checked(attribute, value)
    if op == "replace" or not attribute.many:
        if attribute.type == "complex" and not attribute.many and op == "add":
            made = {**holder.get(name, {}), **made}
        holder[name] = made
        _one_primary(made, made)
        return
    kept: list[Any] = list(holder.get(name, ()))
    known = {_value(one) for one in kept}
    # A member is one whatever else is said of it.
    alike = name == "members"
    fresh = [one for one in made if _value(one) not in known or not (alike or one in kept)]
    holder[name] = kept + fresh
    _one_primary(holder[name], fresh)


def _part(
    holder: dict[str, Any], attribute: Attribute, part: Attribute, op: str, value: Any
) -> None:
    inner: dict[str, Any] = dict(holder.get(attribute.name, {}))
    if op == "remove" or value is None:
        inner.pop(part.name, None)
    else:
        inner[part.name] = checked(part, value)
    holder[attribute.name] = inner


def _some(
    holder: dict[str, Any],
    attribute: Attribute,
    part: Attribute | None,
    op: str,
    target: Target,
    value: Any,
) -> None:
    values: list[Any] = list(holder.get(attribute.name, ()))
    chosen = [
        at
        for at, one in enumerate(values)
        if target.only is None or (isinstance(one, Mapping) and matches(one, target.only))
    ]
    if op == "remove":
        if not chosen:
            raise no_target("no value of the attribute is meant")
        for at in chosen:
            if part is not None:
                values[at] = {k: v for k, v in values[at].items() if k != part.name}
        if part is None:
            gone = frozenset(chosen)
            values = [one for at, one in enumerate(values) if at not in gone]
        holder[attribute.name] = [one for one in values if one != {}]
        return
    if not chosen:
        if op == "replace" or target.only is None:
            raise no_target("no value of the attribute is meant")
        # A value that is to be added and does not exist yet is made as the filter describes it.
        values.append(_described(attribute, target.only))
        chosen = [len(values) - 1]
    fresh = []
    for at in chosen:
        if part is not None:
            values[at] = {**values[at], part.name: checked(part, value)}
        else:
            made = checked(attribute, value)
            if len(made) != 1:
                raise bad_value(f"one value of {attribute.name} is meant")
            values[at] = made[0] if op == "replace" else {**values[at], **made[0]}
        fresh.append(values[at])
    holder[attribute.name] = values
    _one_primary(values, fresh)


def _described(attribute: Attribute, only: Filter) -> dict[str, Any]:
    """The value that `type eq "work"` asks for. Raises: ScimFault where more is needed."""
    if isinstance(only, Both):
        return {**_described(attribute, only.left), **_described(attribute, only.right)}
    if isinstance(only, Compare) and only.operator == "eq" and not only.path.sub:
        part = attribute.part(only.path.name)
        if part is not None and not part.read_only and only.value is not None:
            return {part.name: checked(part, only.value)}
    raise no_target("no value of the attribute is meant")


def _one_primary(values: Any, fresh: Any) -> None:
    """At most one value is the primary one: the newest that says so."""
    if not isinstance(values, list):
        return
    said = [one for one in fresh if isinstance(one, dict) and one.get("primary") is True]
    if said:
        for one in values:
            if isinstance(one, dict) and one.get("primary") is True and one is not said[-1]:
                one["primary"] = False


def _value(one: Any) -> Any:
    return one.get("value") if isinstance(one, Mapping) else one


def _tidy(kind: ResourceKind, result: dict[str, Any]) -> None:
    """Empty values are the same as none (RFC 7643 section 2.5)."""
    for name in [name for name, value in result.items() if value in ([], {})]:
        del result[name]
    for extension in kind.extensions:
        inner = result.get(extension.id)
        if isinstance(inner, dict):
            for name in [name for name, value in inner.items() if value in ([], {})]:
                del inner[name]
            if not inner:
                del result[extension.id]
