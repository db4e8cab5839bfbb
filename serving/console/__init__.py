"""The console: pages for people who watch models and decide about them."""

from serving.console.pages import add_console

__all__ = ["add_console"]
