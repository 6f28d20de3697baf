"""Starting and ending programs."""

import sys

import pytest

from localdev.processes import Program, ProgramError


def _python(source: str, **options: object) -> Program:
    return Program([sys.executable, "-uc", source], **options)


def test_a_program_is_waited_for_until_it_says_that_it_is_ready():
    with _python("import time; print('up', flush=True); time.sleep(60)", ready="up") as program:
        assert program.running
    assert not program.running


def test_a_program_that_ends_before_it_is_ready_is_an_error_with_its_output():
    with pytest.raises(ProgramError, match=r"(?s)ended without 'up'.*went wrong"):
        _python("import sys; sys.exit('went wrong')", ready="up").start()


def test_a_program_that_stays_silent_is_ended():
    program = _python("import time; time.sleep(60)", ready="up")
    with pytest.raises(ProgramError, match="did not within"):
        program.start(timeout=0.3)
    assert not program.running


def test_the_exit_code_and_the_output_are_given():
    program = _python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)").start()
    assert program.wait() == 3
    assert sorted(program.output.split()) == ["err", "out"]


def test_a_program_that_ignores_the_signal_is_ended_by_force():
    program = _python(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(60)", ready="up"
    ).start()
    assert program.stop(timeout=0.3) == -9


def test_variables_are_added_changed_and_taken_out():
    source = "import os; print(os.environ.get('A'), 'HOME' in os.environ, 'PATH' in os.environ)"
    program = _python(source, environment={"A": "1", "HOME": None}).start()
    program.wait()
    assert program.output.strip() == "1 False True"


def test_lines_can_be_waited_for_and_counted():
    program = _python("for n in range(3): print('line', n)").start()
    assert program.wait_for("line", times=3).strip() == "line 2"
