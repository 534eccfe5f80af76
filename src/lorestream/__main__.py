"""``python -m lorestream``: the same as the ``lorestream`` command."""

from lorestream.cli import main

if __name__ == "__main__":
    main()
