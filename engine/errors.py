"""The engine's errors, light enough for a bot process. Knows nothing of HTTP or models.

EngineError                 code, message, retry_after
├── InvalidRequest          the request contradicts itself or asks for the impossible
├── UnsupportedSetting      a decoding setting that the chosen model or backend can't do
├── UnsuitableWords         the words, title or opening are refused
├── UnwritableWords         the model has no letters for them, such as Chinese words or emoji
├── UnsuitableStory         nothing suitable came out, even after writing anew
├── ModelUnknown            no model of that name
├── ModelRefused            a directory can't be added or loaded as a model
├── Overloaded              the waiting line is full: try again later
├── NotReady                the default model is still loading
├── ShuttingDown            the engine is about to stop
├── DeadlineExceeded        the story took longer than allowed
├── Cancelled               somebody stopped the story
├── Unauthorised            the token is missing or wrong
├── EngineUnavailable       nobody answers at the engine's address, or it went away
└── InternalError           a fault of ours
"""

from __future__ import annotations

from typing import ClassVar

from engine.schema import ErrorCode, ErrorEvent


class EngineError(Exception):
    """An expected failure: a code for programs, a sentence for people.

    `retry_after` is in seconds, or None where trying again makes no sense.
    """

    def __init__(self, code: ErrorCode, message: str = "", retry_after: float | None = None) -> None:
        self.code = code
        self.message = message or code.value.replace("_", " ")
        self.retry_after = retry_after
        super().__init__(self.message)

    def event(self) -> ErrorEvent:
        """Return the wire event that says the same."""
        return ErrorEvent(code=self.code, message=self.message, retry_after=self.retry_after)

    @staticmethod
    def of(code: ErrorCode, message: str, retry_after: float | None = None) -> EngineError:
        """Return the error of the class that belongs to `code`."""
        return _CLASSES[code](message, retry_after)


class _Coded(EngineError):
    """An error whose class says its code."""

    default_code: ClassVar[ErrorCode]

    def __init__(self, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(self.default_code, message, retry_after)


class InvalidRequest(_Coded):
    """The request contradicts itself or asks for the impossible."""

    default_code = ErrorCode.INVALID_REQUEST


class UnsupportedSetting(_Coded):
    """A decoding setting that the chosen model or backend can't do."""

    default_code = ErrorCode.UNSUPPORTED_SETTING


class UnsuitableWords(_Coded):
    """The words, title or opening are refused."""

    default_code = ErrorCode.UNSUITABLE_WORDS


class UnwritableWords(_Coded):
    """The model has no letters for these words."""

    default_code = ErrorCode.UNWRITABLE_WORDS


class UnsuitableStory(_Coded):
    """Nothing suitable came out, even after writing anew."""

    default_code = ErrorCode.UNSUITABLE_STORY


class ModelUnknown(_Coded):
    """No model of that name."""

    default_code = ErrorCode.MODEL_UNKNOWN


class ModelRefused(_Coded):
    """A directory can't be added or loaded as a model."""

    default_code = ErrorCode.INVALID_REQUEST


class Overloaded(_Coded):
    """The waiting line is full: try again later."""

    default_code = ErrorCode.OVERLOADED


class NotReady(_Coded):
    """The default model is still loading."""

    default_code = ErrorCode.NOT_READY


class ShuttingDown(_Coded):
    """The engine is about to stop."""

    default_code = ErrorCode.SHUTTING_DOWN


class DeadlineExceeded(_Coded):
    """The story took longer than allowed."""

    default_code = ErrorCode.DEADLINE


class Cancelled(_Coded):
    """Somebody stopped the story."""

    default_code = ErrorCode.CANCELLED


class Unauthorised(_Coded):
    """The token is missing or wrong."""

    default_code = ErrorCode.UNAUTHORISED


class EngineUnavailable(_Coded):
    """Nobody answers at the engine's address, or it went away in mid-story."""

    default_code = ErrorCode.UNAVAILABLE


class InternalError(_Coded):
    """A fault of ours."""

    default_code = ErrorCode.INTERNAL


_CLASSES: dict[ErrorCode, type[_Coded]] = {
    kind.default_code: kind for kind in _Coded.__subclasses__() if kind is not ModelRefused
}
