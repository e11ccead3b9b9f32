"""Messages of ours in an IMAP4 mailbox: proven as they are fetched, and expunged by exactly the UIDs that were proven."""

from collections.abc import Iterator

from probe.observe.fetching import fetch_whole, uid_and_octets
from probe.observe.hunt import Hunt, due
from probe.observe.mailbox import Session
from probe.observe.protocol import imap

MOST_AT_ONCE = 20
MOST_EXPUNGED = 100

# By folder, its UIDVALIDITY, and the marker of each UID that was proven in this session and is to be deleted.
Doomed = dict[str, tuple[str | None, dict[int, str]]]


def in_pieces(uids: list[int], most: int) -> Iterator[list[int]]:
    return (uids[start : start + most] for start in range(0, len(uids), most))


async def judge_some(hunt: Hunt, session: Session, folder: str, uids: list[int], claimed: dict[int, str]) -> None:
    """Fetch, and prove each as it arrives; what is claimed is deleted later, by exactly its UID in this session."""
    waiting = set(uids)

    def judged(item: imap.Untagged) -> bool:
        uid, octets = uid_and_octets(item)
        if uid in waiting and octets is not None:
            waiting.remove(uid)
            if marker := due(hunt, octets, folder):
                claimed[uid] = marker
        return False

    await fetch_whole(session.talk, uids, judged)


async def expunge_all(hunt: Hunt, session: Session, doomed: Doomed) -> None:
    found = hunt.found
    for folder, (validity, claimed) in doomed.items():
        if claimed and not await _is_selected(session, folder, validity):
            found.kept += [marker for marker in claimed.values() if marker not in found.kept]
            continue
        for uids in in_pieces(list(claimed), MOST_EXPUNGED):
            listed = ",".join(map(str, uids))
            answers = await session.talk.flight(imap.expunging(listed))
            into = found.deleted if all(answer.ok for answer in answers) else found.kept
            into += [marker for marker in dict.fromkeys(claimed[uid] for uid in uids) if marker not in into]


async def _is_selected(session: Session, folder: str, validity: str | None) -> bool:
    """SELECT the folder where another is; False where its UIDs may mean other messages than those that were proven."""
    if session.selected == folder:
        return True
    selected = await session.talk.command(f"SELECT {imap.mailbox(folder)}")
    session.selected = folder if selected.ok else None
    return selected.ok and selected.coded("UIDVALIDITY") == validity
