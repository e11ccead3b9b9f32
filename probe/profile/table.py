"""The ground every table of a profile stands on, and how a table reports a contradiction."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from probe.profile.values import printable

SECRETS = ("password", "token", "proxy_password")


class Table(BaseModel):
    """A frozen table that refuses unknown keys and control characters; never shows its input in an error."""

    # defer_build: only the model that has every plug-in's table is ever built, once. use_attribute_docstrings is left
    # out on purpose: it reads and parses the source of every table at each start; the schema does so when it is asked for.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, hide_input_in_errors=True, protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _printable(cls, value: Any, info: ValidationInfo) -> Any:
        # Tables within this one check themselves, so that the error names the innermost key. Thumbprints are exempt
        # from nothing here: the invisible mark they are copied with is a format character, not a control one.
        if info.field_name not in (*SECRETS, "client_secret"):
            for item in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(item, str):
                    printable(item)
        return value


def contradiction(key: str, text: str, about: Sequence[str] = (), *, missing: bool = False) -> PydanticCustomError:
    """Two settings that cannot both hold, or one that another makes necessary.

    `key` (dotted, relative to the table that raises; "" for the table itself) is the setting to blame, `about` the
    further ones the verdict rests on: when one of those was itself in error, the verdict is not reported.
    """
    return PydanticCustomError("contradiction", "{text}", {"text": text, "key": key, "about": [key, *about], "missing": missing})
