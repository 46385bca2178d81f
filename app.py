"""The appliance: `python app.py` starts it, `python app.py --help` lists the other commands."""

from uploadkit.cli.main import main

if __name__ == "__main__":
    main()
