"""The console: a few pages for people, the phone first. Plain HTML, no script."""
