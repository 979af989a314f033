"""What a User and a Group consist of here (RFC 7643 sections 4 and 8.7), and the checks on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from taskgate.identity.scim.faults import bad_syntax, bad_value

USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE: Final = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
# The gate's own: where somebody's access was in use, told when they are shut out.
DEPARTURE: Final = "urn:ietf:params:scim:schemas:extension:taskgate:2.0:Departure"
_MAX_TEXT_CHARS: Final = 2_000
_MAX_VALUES: Final = 200


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute, as `/Schemas` describes it. `parts` are a complex one's. `fixed` may be set
    and not changed. `words` are the usual values, and what a reference points at."""

    name: str
    about: str
    type: str = "string"
    many: bool = False
    required: bool = False
    read_only: bool = False
    exact: bool = False
    unique: bool = False
    fixed: bool = False
    words: tuple[str, ...] = ()
    parts: tuple["Attribute", ...] = ()

    def part(self, name: str) -> "Attribute | None":
        return next((part for part in self.parts if part.name.lower() == name.lower()), None)

    def described(self) -> dict[str, Any]:
        """RFC 7643 section 7."""
        found: dict[str, Any] = {
            "name": self.name,
            "type": self.type,
            "multiValued": self.many,
            "description": self.about,
            "required": self.required,
            "mutability": "readOnly"
            if self.read_only
            else "immutable"
            if self.fixed
            else "readWrite",
            "returned": "default",
        }
        if self.type == "complex":
            found["subAttributes"] = [part.described() for part in self.parts]
        else:
            found["caseExact"] = self.exact
            found["uniqueness"] = "server" if self.unique else "none"
        if self.type == "reference":
            found["referenceTypes"] = list(self.words)
        elif self.words:
            found["canonicalValues"] = list(self.words)
        return found


@dataclass(frozen=True, slots=True)
class Schema:
    """One schema, or extension."""

    id: str
    name: str
    about: str
    attributes: tuple[Attribute, ...]

    def attribute(self, name: str) -> Attribute | None:
        return next((one for one in self.attributes if one.name.lower() == name.lower()), None)


def _texts(*names: str) -> tuple[Attribute, ...]:
    return tuple(Attribute(name, f"The {name}.") for name in names)


def _plural(name: str, about: str) -> Attribute:
    parts = (
        Attribute("value", "The value."),
        Attribute("display", "How to show it."),
        Attribute("type", "What it is used for, such as work."),
        Attribute("primary", "Whether it is the preferred one.", "boolean"),
    )
    return Attribute(name, about, "complex", many=True, parts=parts)


USER_SCHEMA: Final = Schema(
    USER,
    "User",
    "A person who may come in",
    (
        Attribute("userName", "The name at the provider.", required=True, unique=True),
        Attribute(
            "name",
            "The parts of the name.",
            "complex",
            parts=_texts(
                "formatted",
                "familyName",
                "givenName",
                "middleName",
                "honorificPrefix",
                "honorificSuffix",
            ),
        ),
        *_texts(
            "displayName",
            "nickName",
            "title",
            "userType",
            "preferredLanguage",
            "locale",
            "timezone",
        ),
        Attribute("active", "Whether the person may come in at all.", "boolean"),
        _plural("emails", "Addresses."),
        _plural("phoneNumbers", "Telephone numbers."),
        Attribute(
            "groups",
            "Groups that have the person; changed at the groups.",
            "complex",
            many=True,
            read_only=True,
            parts=(
                Attribute("value", "The group's id.", read_only=True),
                Attribute(
                    "$ref",
                    "The group's address.",
                    "reference",
                    read_only=True,
                    exact=True,
                    words=("Group",),
                ),
                Attribute("display", "The group's name.", read_only=True),
                Attribute("type", "Always direct.", read_only=True),
            ),
        ),
    ),
)

ENTERPRISE_SCHEMA: Final = Schema(
    ENTERPRISE,
    "EnterpriseUser",
    "What employers add",
    (
        *_texts("employeeNumber", "costCenter", "organization", "division", "department"),
        Attribute(
            "manager",
            "The person's manager.",
            "complex",
            parts=(
                Attribute("value", "The manager's id at the provider."),
                Attribute("displayName", "The manager's name.", read_only=True),
            ),
        ),
    ),
)

DEPARTURE_SCHEMA: Final = Schema(
    DEPARTURE,
    "Departure",
    "Where access was in use when its holder was shut out",
    (
        Attribute("sessionsCut", "How many sessions were cut.", "integer", read_only=True),
        Attribute("grantsRevoked", "How many grants were revoked.", "integer", read_only=True),
        Attribute(
            "places",
            "Where access was in use.",
            "complex",
            many=True,
            read_only=True,
            parts=(
                Attribute("source", "The client's address.", read_only=True),
                Attribute("application", "What the client calls itself.", read_only=True),
                Attribute("host", "What was reached.", read_only=True),
                Attribute("task", "Under which task.", read_only=True),
                Attribute("resource", "Which resource.", read_only=True),
                Attribute("times", "How often.", "integer", read_only=True),
                Attribute("lastAt", "When last.", "dateTime", read_only=True),
            ),
        ),
    ),
)

GROUP_SCHEMA: Final = Schema(
    GROUP,
    "Group",
    "A group as policy files name it",
    (
        Attribute("displayName", "The name in policy files.", required=True, exact=True),
        Attribute(
            "members",
            "Who is in it.",
            "complex",
            many=True,
            parts=(
                Attribute("value", "The user's id.", exact=True, fixed=True),
                Attribute(
                    "$ref",
                    "The user's address.",
                    "reference",
                    exact=True,
                    fixed=True,
                    words=("User",),
                ),
                Attribute("display", "The user's name.", read_only=True),
                Attribute("type", "Always User.", fixed=True, words=("User",)),
            ),
        ),
    ),
)

SCHEMAS: Final = (USER_SCHEMA, ENTERPRISE_SCHEMA, DEPARTURE_SCHEMA, GROUP_SCHEMA)
_EXTERNAL: Final = Attribute("externalId", "The provider's own id.", exact=True)


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """Users or Groups: a schema and its extensions."""

    name: str
    endpoint: str
    schema: Schema
    extensions: tuple[Schema, ...] = ()

    def find(self, schema: str, name: str) -> Attribute | None:
        """An attribute by its name in one of the schemas (the core one if `schema` is empty)."""
        if schema in ("", self.schema.id.lower()):
            if name.lower() == "externalid":
                return _EXTERNAL
            return self.schema.attribute(name)
        extension = self.extension(schema)
        return extension.attribute(name) if extension is not None else None

    def extension(self, schema: str) -> Schema | None:
        return next((one for one in self.extensions if one.id.lower() == schema.lower()), None)


USERS: Final = ResourceKind("User", "/Users", USER_SCHEMA, (ENTERPRISE_SCHEMA, DEPARTURE_SCHEMA))
GROUPS: Final = ResourceKind("Group", "/Groups", GROUP_SCHEMA)


def names_schema(body: Mapping[str, Any], schema: str) -> bool:
    """Whether a message says that it is of this schema (RFC 7643 section 3)."""
    schemas = body.get("schemas")
    return isinstance(schemas, list) and schema in schemas


def cleaned(kind: ResourceKind, value: Any) -> dict[str, Any]:
    """A resource as a provider sends it, with canonical names: read-only and unknown attributes
    are left out (RFC 7644 sections 3.3 and 3.5.1), the rest is checked.

    Raises: ScimFault.
    """
    if not isinstance(value, Mapping):
        raise bad_syntax("a resource is a JSON object")
    if not names_schema(value, kind.schema.id):
        raise bad_syntax(f"schemas must name {kind.schema.id}")
    found = _attributes(kind, value)
    for attribute in kind.schema.attributes:
        if attribute.required and not found.get(attribute.name):
            raise bad_value(f"{attribute.name} is required")
    return found


def _attributes(kind: ResourceKind, value: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, item in value.items():
        extension = kind.extension(str(key))
        if extension is not None and isinstance(item, Mapping):
            inner = {}
            for name, part in item.items():
                attribute = extension.attribute(str(name))
                if attribute is not None and not attribute.read_only and part is not None:
                    inner[attribute.name] = checked(attribute, part)
            if inner:
                found[extension.id] = inner
            continue
        attribute = kind.find("", str(key))
        if attribute is None or attribute.read_only or item is None:
            continue
        if attribute.name in found:
            raise bad_syntax(f"{attribute.name} is given twice")
        made = checked(attribute, item)
        if made not in ([], {}):
            found[attribute.name] = made
    return found


def checked(attribute: Attribute, value: Any) -> Any:
    """A value of an attribute, or all of a multi-valued one's. Raises: ScimFault."""
    if not attribute.many:
        return _single(attribute, value)
    values = value if isinstance(value, list) else [value]
    limit = _MAX_VALUES if attribute.name != "members" else 10**9
    if len(values) > limit:
        raise bad_value(f"{attribute.name} has more than {limit} values")
    return [_single(attribute, one) for one in values if one is not None]


def _single(attribute: Attribute, value: Any) -> Any:
    match attribute.type:
        case "boolean":
            # Some providers send their booleans as text.
            if isinstance(value, str) and value.lower() in ("true", "false"):
                return value.lower() == "true"
            if not isinstance(value, bool):
                raise bad_value(f"{attribute.name} is true or false")
            return value
        case "complex":
            if isinstance(value, str) and attribute.part("value") is not None:
                value = {"value": value}
            if not isinstance(value, Mapping):
                raise bad_value(f"{attribute.name} is an object")
            found = {}
            for key, item in value.items():
                part = attribute.part(str(key))
                if part is not None and not part.read_only and item is not None:
                    found[part.name] = _single(part, item)
            return found
        case _:
            if not isinstance(value, str) or len(value) > _MAX_TEXT_CHARS:
                raise bad_value(f"{attribute.name} is a text of {_MAX_TEXT_CHARS} characters")
            return value
