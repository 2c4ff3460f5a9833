"""``python -m moco_tui``: the same as the command ``moco-tui``."""

from moco_tui.cli import main

if __name__ == "__main__":
    main()
