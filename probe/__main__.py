"""`probe` and `python -m probe`. Nothing heavy is imported for `probe --version`."""

import sys


def main() -> None:
    """Run the command line and exit with its status."""
    if sys.argv[1:] == ["--version"]:
        from probe.version import __version__

        print(f"submission-probe {__version__}")
        return
    from probe.cli import entry
    from probe.cli._out import prepare

    prepare()
    sys.exit(entry(sys.argv[1:]))


if __name__ == "__main__":
    main()
