"""An XML document of a stranger: read by defusedxml with DTD and entities refused, names without their namespaces."""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from probe.observe.trouble import stop

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def parsed(body: bytes, expected: str, place: str) -> "Element":
    """The root of a document that must be called `expected`. Raises Stopped with `discover.document-refused`."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except DefusedXmlException:
        text = "the document declares a DTD or entities, which none of its kind needs (an XML bomb looks like this)"
        raise stop("discover.document-refused", f"{place}: {text}") from None
    except (ParseError, ValueError, LookupError) as error:
        # ValueError and LookupError: an encoding that the octets are not in, or that there is not.
        raise stop("discover.document-refused", f"{place}: the document is not XML: {error}") from None
    if local(root) != expected:
        called = ascii(local(root))
        raise stop("discover.document-refused", f"{place}: not such a document: its root is {called}, not {expected!a}")
    return root


def is_web_page(body: bytes) -> bool:
    """Whether a web server answered with a page for people: many do so for any path, and mail programs pass over it."""
    start = body[:200].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    return start.startswith((b"<!doctype html", b"<html"))


def local(element: "Element") -> str:
    return str(element.tag).rpartition("}")[2]


def each(element: "Element", name: str) -> Iterator["Element"]:
    """Every descendant of that name, in the document's order."""
    return (found for found in element.iter() if local(found) == name)


def text(element: "Element", name: str) -> str | None:
    """The text of the first child of that name, None when it is absent or empty."""
    for child in element:
        if local(child) == name:
            return (child.text or "").strip() or None
    return None
