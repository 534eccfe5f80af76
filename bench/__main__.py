"""``python -m bench``: run the measurements and write their report."""

from bench.relay import main

if __name__ == "__main__":
    main()
