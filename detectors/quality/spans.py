"""Lengths and moments of time as a person says them."""


def span(seconds: float) -> str:
    """A length of time."""
    for unit, name in ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return "a second" if round(seconds) <= 1 else f"{seconds:.0f} seconds"


def hours(start_us: int, end_us: int) -> str:
    """From when to when of a day."""
    first, last = (time_us // 60_000_000 % 1_440 for time_us in (start_us, end_us))
    return f"from {first // 60:02d}:{first % 60:02d} to {last // 60:02d}:{last % 60:02d} UTC"
