"""What can be wrong with the material that the detectors are given."""


class DetectorError(ValueError):
    """Root of this room's errors. The message names the field, its value and what would be right."""


class ReferenceInvalid(DetectorError):
    """A reference cannot be built from these columns, or cannot be read from this text."""


class ProfileInvalid(DetectorError):
    """A profile cannot be folded, merged or read: it belongs to another reference or is damaged."""


class MonitorInvalid(DetectorError):
    """A monitor asks for something that cannot be kept, such as a budget of no incident at all."""
