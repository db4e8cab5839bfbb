"""`python -m deploy.cli`: how the supervisor starts its parts."""

from deploy.cli import main

main()
