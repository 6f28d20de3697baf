"""Texts: what no database takes, what is one line, cutting them for a person to read, and telling them apart."""

from __future__ import annotations

import hashlib
import re
import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress

# PostgreSQL refuses a NUL in text, and no driver encodes half of a surrogate pair, which JSON can spell.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# What a local part may hold (RFC 5321: atoms with a period between two), but `=`, which mostly follows a name of the
# address: `to=ann@b.co`. It goes on with a letter or digit before a sign; else the sign is the text's: `'ann@b.co'`.
# What broken JSON holds, or a reason that quotes some, may follow an escape.
SIGNS = re.escape("!#$%&'*+-/?^_`{|}~")
BEGINS = rf"(?:(?<=\\[bfnrt])|(?<=\\u[\da-f]{{4}})|(?<!\w)(?<![\w{SIGNS}]\.)(?<!\w[{SIGNS}])(?<!\w[{SIGNS}]{{2}}))"
# A domain goes on only with another letter or digit: `b.co.uk`, `b.co-op`, and not `b.co.`, `b.co-`.
ENDS = r"(?!\w|-+\w|\.\w)"
NAMES = {"\n": "a line break", "\r": "a line break", "\t": "a tab"}
# So many names fit into a sentence.
NAMED = 3


# What steers a line, or is not seen in it: control characters, marks of direction and joiners, halves of characters.
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def is_one_line(text: str) -> bool:
    """Whether the text holds neither a line break nor any other control character."""
    return text.isprintable() or not any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in text)


def is_seen(text: str) -> bool:
    """Whether the text is one line, every character of which is seen: two that look alike are the same."""
    return text.isprintable() or not any(unicodedata.category(character) in UNSEEN for character in text)


def odd(text: str) -> str:
    """What of a text nobody sees, as `; it ends with a blank`, `; it holds U+200B (ZERO WIDTH SPACE)`; or nothing."""
    for character in text:
        if not character.isprintable():
            name = NAMES.get(character) or unicodedata.name(character, "a control character")
            return f"; it holds U+{ord(character):04X} ({name})"
    blank = [place for place, is_so in (("begins", text[:1] == " "), ("ends", text[-1:] == " ")) if is_so]
    return f"; it {' and '.join(blank)} with a blank" if blank else ""


def shortened(text: str, longest: int = 60) -> str:
    """The text, cut to at most `longest` characters; an ellipsis says that it was."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def named(names: Sequence[str], most: int = NAMED) -> str:
    """The first few names, and how many more there are: `DIE1, EAU, AIR and 5 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def readable(text: str, longest: int = 60) -> str:
    """Somebody else's text as one short line that can be stored and shown anywhere: what can't be seen is a blank."""
    visible = "".join(character if character.isprintable() else " " for character in text)
    return shortened(" ".join(visible.split()), longest)


def folded(text: str) -> str:
    """The text without case and accents, as people compare it: `forêt` and `FORET` are one."""
    apart = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(character for character in apart if not unicodedata.combining(character))


def in_shell(text: str) -> str:
    """The text as a shell takes it for one word, for commands that people paste."""
    return shlex.quote(text)


def digest(*texts: str) -> str:
    """Twelve characters that tell texts apart, for a key or a name."""
    return hashlib.sha256("\n".join(texts).encode("utf-8", "replace")).hexdigest()[:12]


def wholly(addresses: Iterable[str]) -> re.Pattern[str]:
    """What finds addresses in a text, in any letters, and not within others: `ann@b.co` is in neither `joann@b.co` nor
    `o'ann@b.co` nor `ann@b.co.uk`, but in `'ann@b.co'.`
    """
    longest_first = sorted(filter(None, addresses), key=len, reverse=True)
    return re.compile(rf"{BEGINS}(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'}){ENDS}", re.IGNORECASE)


def bare(recipient: str) -> str:
    """The address alone, as addresses are compared: `Ann <Ann@É.ca>` is `ann@xn--9ca.ca`."""
    named = re.search(r"<([^<>]*)>\s*$", recipient)
    local, at, domain = (named.group(1) if named else recipient).strip().casefold().rpartition("@")
    with suppress(UnicodeError):
        domain = domain.encode("idna").decode()
    return f"{local}{at}{domain}"


def storable(text: str) -> str:
    """The text with `\N{REPLACEMENT CHARACTER}` in place of characters that some database refuses."""
    return UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def units(text: str) -> int:
    """How long a text is for a database: in UTF-16 units, as SQL Server counts (an emoji is two)."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def fitting(text: str, longest: int, ending: str = "…") -> str:
    """The storable text, cut to `longest` units, never in the middle of a character. ending: says that it was cut."""
    cleaned = storable(text)
    if units(cleaned) <= longest:
        return cleaned
    return cleaned.encode("utf-16-le")[: 2 * (longest - units(ending))].decode("utf-16-le", "ignore") + ending
