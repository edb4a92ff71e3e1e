"""raycner store: list, verify and clean a store."""

import argparse

from rich.console import Console

from raycner.cli.parser import Verbs, add_store, add_verb


def add_parser(verbs: Verbs) -> None:
    parser = add_verb(
        verbs,
        "store",
        ls,
        summary="list, verify and clean a store",
        examples="""
            raycner store ls
            raycner store verify --store s3://bucket/store
            raycner store gc --yes
        """,
    )
    tasks = parser.add_subparsers(required=True, metavar="ls|verify|gc")
    add_store(
        add_verb(
            tasks,
            "ls",
            ls,
            summary="show runs, searches, corpora and steps, with their sizes",
            examples="raycner store ls --store store",
        )
    )
    add_store(
        add_verb(
            tasks,
            "verify",
            verify,
            summary="read every byte; the exit status is 1 if anything is damaged",
            examples="raycner store verify --store s3://bucket/store",
        )
    )
    cleaning = add_verb(
        tasks,
        "gc",
        gc,
        summary="show what no run or search refers to, and remove it with --yes",
        examples="""
            raycner store gc
            raycner store gc --yes --unused-days 7
        """,
    )
    add_store(cleaning)
    sure = cleaning.add_mutually_exclusive_group()
    sure.add_argument("--dry-run", action="store_true", help="only show it (the default)")
    sure.add_argument("--yes", action="store_true", help="remove it")
    unused = "also evict copies in this node's cache that were not used for so many days (default: 30)"
    cleaning.add_argument("--unused-days", type=float, default=30.0, metavar="DAYS", help=unused)


def ls(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.stores import Store

    Store(args.store).show(console)


def verify(args: argparse.Namespace, console: Console) -> int:
    from raycner.api.stores import Store

    with console.status("reading") as status:
        damaged = list(Store(args.store).damages(status.update))
    for damage in damaged:
        console.print(f"{damage.key}: {damage.what}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len(damaged)} damaged" if damaged else "everything is as it was committed", highlight=False)
    return 1 if damaged else 0


def gc(args: argparse.Namespace, console: Console) -> None:
    from raycner.api.stores import Store
    from raycner.reporting.terminal.store_view import leftovers_view

    removable = Store(args.store).leftovers(args.unused_days)
    if not removable:
        console.print("nothing is left over")
        return
    console.print(leftovers_view(removable, console.width), highlight=False)
    if not args.yes:
        console.print("nothing was removed; --yes removes it", highlight=False)
        return
    for leftover in removable:
        leftover.remove()
    console.print("removed")
