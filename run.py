"""Command line of the analysis in a checkout: `python run.py --help`."""

if __name__ == "__main__":
    from analysis.__main__ import command

    command("run.py")
