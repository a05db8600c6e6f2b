"""One question, one answer: what the program does."""

import os

from droned.logs.reader import manners
from droned.logs.reader.history import History
from droned.logs.reader.output import Output
from droned.logs.reader.question import BadQuestion, question_of

_MOST_QUESTION = 16 * 1024 * 1024


def main() -> int:
    """Answer the question on standard input; gives the exit status."""
    manners.begin()
    output = Output(1)
    try:
        text, parent = _asked(0)
        answer(text, parent, output)
        status = 0
    except BadQuestion as error:
        output.tell({"error": str(error)})
        status = 2
    except BrokenPipeError:
        status = 0
    except OSError as error:
        output.tell({"error": f"cannot read the logs: {error}"})
        status = 1
    os._exit(status)  # a thread may be reading ahead for nobody


def answer(text: bytes, parent: int | None, output: Output) -> None:
    """Print the answer. Raises BadQuestion, and BrokenPipeError when nobody reads it any more."""
    question = question_of(text)
    history = History(question, output)
    newest = history.show()
    output.flush()
    if question.follow:
        from droned.logs.reader.follow import Follow

        Follow(history, newest, output, parent).run()
    else:
        output.tell({"event": "end", "position": max(0, history.end)})
    history.segments.close()


def _asked(fd: int) -> tuple[bytes, int | None]:
    """The question, and the descriptor whose end says that the parent is gone: None if it ended with it."""
    text = b""
    while b"\n" not in text:
        data = os.read(fd, 65_536)
        if not data:
            return text, None
        text += data
        if len(text) > _MOST_QUESTION:
            raise BadQuestion(f"cannot answer a question of more than {_MOST_QUESTION} bytes")
    return text.partition(b"\n")[0], fd
