"""The machine code that runs a compiled program: a loop over commands, so that no program has code of its own.

A segment is a kernel of the pool's own form, called with one iteration. Its slots:

    relocations, how many, bases, commands, how many

    relocation   (address of a slot, index of a base, bytes)      slot = bases[index] + bytes
    command      (kernel, slots, total, grain, status)            as pool.run; status is 0 or the address of a word

Invariants: commands run one after another; each may use the pool; a segment ends after a command that leaves its word not 0.
"""

from __future__ import annotations

from functools import cache

from rushlight.codegen import launch, native

_SOURCE = """
define void @rushlight_segment(ptr %slots, i64 %begin, i64 %end, i64 %thread) {
entry:
  %relocations = load ptr, ptr %slots
  %a1 = getelementptr i64, ptr %slots, i64 1
  %moves = load i64, ptr %a1
  %a2 = getelementptr i64, ptr %slots, i64 2
  %bases = load ptr, ptr %a2
  %a3 = getelementptr i64, ptr %slots, i64 3
  %commands = load ptr, ptr %a3
  %a4 = getelementptr i64, ptr %slots, i64 4
  %count = load i64, ptr %a4
  %a5 = getelementptr i64, ptr %slots, i64 5
  %run = load ptr, ptr %a5
  br label %move
move:
  %i = phi i64 [ 0, %entry ], [ %i1, %one ]
  %more = icmp slt i64 %i, %moves
  br i1 %more, label %one, label %start
one:
  %at = mul i64 %i, 3
  %p0 = getelementptr i64, ptr %relocations, i64 %at
  %to = load ptr, ptr %p0
  %p1 = getelementptr i64, ptr %p0, i64 1
  %index = load i64, ptr %p1
  %p2 = getelementptr i64, ptr %p0, i64 2
  %bytes = load i64, ptr %p2
  %b = getelementptr i64, ptr %bases, i64 %index
  %base = load i64, ptr %b
  %address = add i64 %base, %bytes
  store i64 %address, ptr %to
  %i1 = add i64 %i, 1
  br label %move
start:
  br label %head
head:
  %c = phi i64 [ 0, %start ], [ %c1, %on ]
  %left = icmp slt i64 %c, %count
  br i1 %left, label %do, label %done
do:
  %off = mul i64 %c, 5
  %q0 = getelementptr i64, ptr %commands, i64 %off
  %fn = load ptr, ptr %q0
  %q1 = getelementptr i64, ptr %q0, i64 1
  %args = load ptr, ptr %q1
  %q2 = getelementptr i64, ptr %q0, i64 2
  %total = load i64, ptr %q2
  %q3 = getelementptr i64, ptr %q0, i64 3
  %grain = load i64, ptr %q3
  %short = icmp sle i64 %total, %grain
  br i1 %short, label %alone, label %shared
alone:
  call void %fn(ptr %args, i64 0, i64 %total, i64 0)
  br label %next
shared:
  call void %run(ptr %fn, ptr %args, i64 %total, i64 %grain)
  br label %next
next:
  %q4 = getelementptr i64, ptr %q0, i64 4
  %word = load ptr, ptr %q4
  %checked = icmp ne ptr %word, null
  br i1 %checked, label %check, label %on
check:
  %status = load i64, ptr %word
  %good = icmp eq i64 %status, 0
  br i1 %good, label %on, label %done
on:
  %c1 = add i64 %c, 1
  br label %head
done:
  ret void
}
"""


@cache
def segment():
    """run(1, 1, relocations, how many, bases, commands, how many, address of the pool's run)."""
    code = native.load(_SOURCE, ["rushlight_segment"])
    return launch.launcher(code["rushlight_segment"], "pqppqq")
