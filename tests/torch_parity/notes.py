"""Small programs run on two libraries, their outcomes noted and compared."""

import warnings


class Notes(list):
    """The outcomes of small programs: the text of the result, or of the error."""

    def __call__(self, name, program):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self.append((name, repr(program())))
            except Exception as error:
                words = (str(error).splitlines() or [""])[0][:36]
                self.append((name, f"{type(error).__name__}: {words}"))


def differences(program, theirs, ours, known):
    """Where the notes of one program disagree; `known` maps (program, number) to the reason why it may."""
    theirs, ours = program(theirs), program(ours)
    assert len(theirs) == len(ours)
    return [
        f"{number} {name}\n  torch: {a[:400]}\n  ours:  {b[:400]}"
        for number, ((name, a), (_, b)) in enumerate(zip(theirs, ours))
        if a != b and (program.__name__, number) not in known
    ]
