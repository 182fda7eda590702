"""``python -m actionqueue``: the command line."""

from actionqueue.cli.entry import main

if __name__ == "__main__":
    main()
