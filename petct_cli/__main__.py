"""``python -m petct_cli``."""

from petct_cli.app import main

if __name__ == "__main__":
    main()
