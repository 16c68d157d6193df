"""What can go wrong, and whose fault it is. Knows nothing else of lossyzip.

LossyZipError
├── InvalidArgumentError          the caller: a bound, a pattern, an option (also a ValueError)
│   └── UnsupportedDataError      the data: a dtype or shape that lossyzip does not take
├── MissingDependencyError        the environment: a package that is not always needed is not installed
├── UnreachableTargetError        the targets: no bound meets them, or not all of them together
├── SelfCheckError                us: an output that failed its own check never leaves
│   └── BoundViolationError       a value would have come back outside the bound
└── DecodeError                   the bytes
    ├── NotALossyZipError         they are something else
    ├── UnsupportedFormatError    a newer lossyzip wrote them
    ├── TruncatedError            they end too early
    ├── CorruptError              a checksum or a structure is wrong
    ├── MissingReferenceError     they need an array that was not given
    ├── MissingModelError         they need a model that was not given
    └── ContentMismatchError      they decode, but not to the values that were checked when they were made
"""


class LossyZipError(Exception):
    """Base of every exception that lossyzip raises on purpose."""


class InvalidArgumentError(LossyZipError, ValueError):
    """The caller asked for something that has no meaning; the message says what would have."""


class UnsupportedDataError(InvalidArgumentError):
    """The data is of a kind that lossyzip does not take; nothing was written."""


class MissingDependencyError(LossyZipError):
    """What was asked for needs a package that is not installed; the message says which."""


class UnreachableTargetError(LossyZipError):
    """No bound was found that meets what `tune` was asked for; the message has the nearest figures."""


class SelfCheckError(LossyZipError):
    """lossyzip's own output failed its check: a bug of lossyzip. Nothing was written."""


class BoundViolationError(SelfCheckError):
    """A decoded value was outside the bound. Nothing was written."""


class DecodeError(LossyZipError):
    """Bytes that cannot be decoded to what was compressed."""


class NotALossyZipError(DecodeError):
    """The bytes do not start as a lossyzip frame or archive does."""


class UnsupportedFormatError(DecodeError):
    """The frame needs a newer lossyzip."""


class TruncatedError(DecodeError):
    """The bytes end before the frame does."""


class CorruptError(DecodeError):
    """A checksum or a structure inside the frame is wrong."""


class MissingReferenceError(DecodeError):
    """The frame was made with a reference that was not given, or is a different one."""


class MissingModelError(DecodeError):
    """The frame names a model that was not given, or is a different one."""


class ContentMismatchError(DecodeError):
    """The decoded values are not those that were checked when the frame was made."""
