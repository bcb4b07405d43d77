"""The thread pool: one pool for every parallel kernel, written in LLVM IR.

A parallel kernel is `void k(ptr args, i64 begin, i64 end, i64 thread)`; `args` points to 8-byte slots. `run(address,
args, total, grain)` calls it on chunks of `grain` iterations that together are [0, total). `run_address()` is the same
as a C function, for compiled programs.

Mechanism: the caller publishes a job and works on it too. A chunk is claimed by one compare-and-swap of the ticket,
which holds (job number: 32 bits, threads that joined: 12, next chunk: 20). A worker's first claim takes its thread
number with it. The caller waits only for chunks that were claimed: a worker that has not started costs nothing. Both
sides spin for a moment and then sleep: a futex on Linux (x86-64, aarch64), a mutex and a condition on other POSIX
systems; on Windows and on other processors a job runs on its caller. On Linux a worker that wakes on its caller's core
leaves it and keeps off it: virtual machines show the host's idle cores as busy, and a scheduler that sees no idle core
leaves both threads on one, where a job shorter than a time slice never meets its worker.

Invariants
- The ticket is closed (its chunk past every count) before the fields of a job change and opened after, so that a
  compare-and-swap that succeeds has read one job's fields. No job ends before every claimed chunk is counted in `done`,
  so what a worker read stays true until it has counted its last chunk.
- `thread` is 0 for the caller and below the number of threads that was set when the run began. Numbers are dense, and
  belong to the run: not to an operating system's thread.
- One job at a time owns the pool. A run that finds it owned (another Python thread, a kernel that calls `run`) is one
  call k(args, 0, total, 0) on its caller, as is a run with total <= grain or one thread.
- Workers are started by the first run that wants them, block all signals, hold no lock while asleep and touch no Python
  object: at exit they are simply gone. After fork() the child's pool is empty and starts anew. (A kernel must not fork.)
- The number of threads is the cell core/settings.py keeps; it is read at every run.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

from rushlight.codegen import native, record
from rushlight.core.settings import SETTINGS

MAX_THREADS = 4095
MAX_CHUNKS = (1 << 20) - 2  # more than that: the grain grows
STAY = 16  # wakes of a worker between two moves to another core
SPIN = 300  # pauses before a thread sleeps: 7 to 14 us, the time between two ops of a Python program

# the fields of a job, in one cache line: a worker that claims fetches nothing else
_FIELDS = {"ticket": "i64", "epoch": "i32", "chunks": "i32", "fn": "ptr", "args": "ptr", "total": "i64", "grain": "i64", "limit": "i32", "core": "i32"}

_POOL = """
%Job = type { $TYPES }
%Place = type { i32, [16 x i64], [14 x i64] } ; of a worker: wakes until it may move again, the cores it was given
@job = internal global %Job zeroinitializer, align 128
@done = internal global i32 0, align 128      ; chunks of this job that workers have finished
@waiting = internal global i32 0, align 4     ; the caller sleeps, or is about to, on @done
@sleepers = internal global i32 0, align 128  ; workers that sleep, or are about to, on $epoch
@busy = internal global i32 0, align 128      ; whether a run owns the pool
@started = internal global i32 0, align 4     ; workers there are
@most = internal global i32 $MOST, align 4    ; workers there can be: fewer after the system refused one
@threads = internal global ptr null, align 8  ; the cell that holds the number of threads

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_detach(ptr)
declare i32 @pthread_attr_init(ptr)
declare i32 @pthread_attr_setstacksize(ptr, i64)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sigfillset(ptr)
declare i32 @sigdelset(ptr, i32)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare i32 @llvm.smin.i32(i32, i32)
declare void $PAUSE_TYPE

define internal ptr @worker(ptr %born) {
entry:
  %place = alloca %Place, align 16
  call void @settle(ptr %place)
  %first = ptrtoint ptr %born to i64
  %epoch0 = trunc i64 %first to i32
  br label %wait
wait:                                               ; `seen` is the last epoch whose job is over for this worker
  %seen = phi i32 [ %epoch0, %entry ], [ %now, %none ], [ %now, %finish ], [ %now, %rouse ]
  br label %look
look:
  %n = phi i32 [ 0, %wait ], [ %n1, %rest ], [ 0, %sleep ]
  %now = load atomic i32, ptr $epoch acquire, align 4
  %new = icmp ne i32 %now, %seen
  br i1 %new, label %join, label %idle
idle:
  %n1 = add i32 %n, 1
  %spin = icmp slt i32 %n1, $SPIN
  br i1 %spin, label %rest, label %sleep
rest:
  call void $PAUSE
  br label %look
sleep:
  %s0 = atomicrmw add ptr @sleepers, i32 1 seq_cst
  call void @park(ptr $epoch, i32 %seen)
  %s1 = atomicrmw sub ptr @sleepers, i32 1 seq_cst
  call void @spread(ptr %place)
  br label %look

join:                                               ; the first claim: a thread number and a chunk
  %t = load atomic i64, ptr $ticket acquire, align 8
  %c64 = and i64 %t, 1048575
  %c = trunc i64 %c64 to i32
  %j0 = lshr i64 %t, 20
  %j64 = and i64 %j0, 4095
  %id = add i64 %j64, 1
  %chunks = load atomic i32, ptr $chunks monotonic, align 4
  %limit = load atomic i32, ptr $limit monotonic, align 4
  %fn = load atomic ptr, ptr $fn monotonic, align 8
  %args = load atomic ptr, ptr $args monotonic, align 8
  %total = load atomic i64, ptr $total monotonic, align 8
  %grain = load atomic i64, ptr $grain monotonic, align 8
  fence acquire
  %there = icmp slt i32 %c, %chunks
  %id32 = trunc i64 %id to i32
  %room = icmp slt i32 %id32, %limit
  %go = and i1 %there, %room
  br i1 %go, label %take, label %none
none:
  br label %wait
take:
  %t1 = add i64 %t, 1048577
  %x = cmpxchg ptr $ticket, i64 %t, i64 %t1 seq_cst seq_cst
  %won = extractvalue { i64, i1 } %x, 1
  br i1 %won, label %work, label %join

work:
  %k = phi i64 [ %c64, %take ], [ %k2, %again ]
  %count = phi i32 [ 0, %take ], [ %count1, %again ]
  %begin = mul i64 %k, %grain
  %stop = add i64 %begin, %grain
  %end = call i64 @llvm.smin.i64(i64 %stop, i64 %total)
  call void %fn(ptr %args, i64 %begin, i64 %end, i64 %id)
  %count1 = add i32 %count, 1
  br label %next
next:
  %u = load atomic i64, ptr $ticket acquire, align 8
  %k2 = and i64 %u, 1048575
  %k32 = trunc i64 %k2 to i32
  %more = icmp slt i32 %k32, %chunks
  br i1 %more, label %again0, label %finish
again0:
  %u1 = add i64 %u, 1
  %y = cmpxchg ptr $ticket, i64 %u, i64 %u1 seq_cst seq_cst
  %got = extractvalue { i64, i1 } %y, 1
  br i1 %got, label %again, label %next
again:
  br label %work
finish:
  %d = atomicrmw add ptr @done, i32 %count1 seq_cst
  %w = load atomic i32, ptr @waiting seq_cst, align 4
  %quiet = icmp eq i32 %w, 0
  br i1 %quiet, label %wait, label %rouse
rouse:
  call void @unpark(ptr @done, i32 1)
  br label %wait
}

define internal void @grow(i32 %want) noinline {   ; have `want` workers, or as many as the system gives
entry:
  %handle = alloca ptr
  %attributes = alloca [128 x i8], align 16
  %mask = alloca [128 x i8], align 16
  %before = alloca [128 x i8], align 16
  %f = call i32 @sigfillset(ptr %mask)
  $KEEP
  %m = call i32 @pthread_sigmask(i32 $SETMASK, ptr %mask, ptr %before)
  %ai = call i32 @pthread_attr_init(ptr %attributes)
  %as = call i32 @pthread_attr_setstacksize(ptr %attributes, i64 8388608)
  %epoch = load i32, ptr $epoch
  %e64 = zext i32 %epoch to i64
  %born = inttoptr i64 %e64 to ptr
  br label %loop
loop:
  %n = load i32, ptr @started
  %more = icmp slt i32 %n, %want
  br i1 %more, label %one, label %end
one:
  %r = call i32 @pthread_create(ptr %handle, ptr %attributes, ptr @worker, ptr %born)
  %ok = icmp eq i32 %r, 0
  br i1 %ok, label %made, label %refused
made:
  %h = load ptr, ptr %handle
  %dt = call i32 @pthread_detach(ptr %h)
  %n1 = add i32 %n, 1
  store i32 %n1, ptr @started
  br label %loop
refused:
  store i32 %n, ptr @most
  br label %end
end:
  %m2 = call i32 @pthread_sigmask(i32 $SETMASK, ptr %before, ptr null)
  ret void
}

define void @rushlight_run(ptr %fn, ptr %args, i64 %total, i64 %grain0) {
entry:
  %some = icmp sgt i64 %total, 0
  br i1 %some, label %sized, label %out
out:
  ret void
serial:
  call void %fn(ptr %args, i64 0, i64 %total, i64 0)
  ret void
sized:
  %cell = load ptr, ptr @threads
  %wanted = load atomic i32, ptr %cell monotonic, align 4
  %limit = call i32 @llvm.smin.i32(i32 %wanted, i32 $MOST)
  %single = icmp slt i32 %limit, 2
  %small = icmp sle i64 %total, %grain0
  %alone = or i1 %single, %small
  br i1 %alone, label %serial, label %own
own:
  %b = cmpxchg ptr @busy, i32 0, i32 1 seq_cst monotonic
  %mine = extractvalue { i32, i1 } %b, 1
  br i1 %mine, label %split, label %serial
split:                                              ; chunks = ceil(total / grain), the grain large enough
  %less = sub i64 %total, 1
  %least0 = udiv i64 %less, $CHUNKS
  %least = add i64 %least0, 1
  %grain = call i64 @llvm.smax.i64(i64 %grain0, i64 %least)
  %c0 = udiv i64 %less, %grain
  %c64 = add i64 %c0, 1
  %chunks = trunc i64 %c64 to i32
  %threads = call i32 @llvm.smin.i32(i32 %limit, i32 %chunks)
  %helpers0 = sub i32 %threads, 1
  %most = load i32, ptr @most
  %helpers = call i32 @llvm.smin.i32(i32 %helpers0, i32 %most)
  %have = load i32, ptr @started
  %short = icmp slt i32 %have, %helpers
  br i1 %short, label %hire, label %post
hire:
  call void @grow(i32 %helpers)
  br label %post
post:                                               ; close the ticket, write the job, open the ticket
  %e = load i32, ptr $epoch
  %e1 = add i32 %e, 1
  %e64 = zext i32 %e1 to i64
  %open = shl i64 %e64, 32
  %closed = or i64 %open, 1048575
  store atomic i64 %closed, ptr $ticket monotonic, align 8
  fence seq_cst
  store atomic i32 %chunks, ptr $chunks monotonic, align 4
  store atomic i32 %threads, ptr $limit monotonic, align 4
  store atomic ptr %fn, ptr $fn monotonic, align 8
  store atomic ptr %args, ptr $args monotonic, align 8
  store atomic i64 %total, ptr $total monotonic, align 8
  store atomic i64 %grain, ptr $grain monotonic, align 8
  %core = call i32 @core()
  store atomic i32 %core, ptr $core monotonic, align 4
  store atomic i32 0, ptr @done monotonic, align 4
  store atomic i64 %open, ptr $ticket release, align 8
  %e2 = atomicrmw add ptr $epoch, i32 1 seq_cst
  %asleep = load atomic i32, ptr @sleepers seq_cst, align 4
  %awake = icmp eq i32 %asleep, 0
  br i1 %awake, label %claim, label %call
call:
  call void @unpark(ptr $epoch, i32 %helpers)
  br label %claim

claim:
  %own_count = phi i32 [ 0, %post ], [ 0, %call ], [ %own_count, %try ], [ %counted, %work ]
  %t = load atomic i64, ptr $ticket acquire, align 8
  %k = and i64 %t, 1048575
  %k32 = trunc i64 %k to i32
  %more = icmp slt i32 %k32, %chunks
  br i1 %more, label %try, label %settle
try:
  %t1 = add i64 %t, 1
  %x = cmpxchg ptr $ticket, i64 %t, i64 %t1 seq_cst seq_cst
  %won = extractvalue { i64, i1 } %x, 1
  br i1 %won, label %work, label %claim
work:
  %begin = mul i64 %k, %grain
  %stop = add i64 %begin, %grain
  %end = call i64 @llvm.smin.i64(i64 %stop, i64 %total)
  call void %fn(ptr %args, i64 %begin, i64 %end, i64 0)
  %counted = add i32 %own_count, 1
  br label %claim

settle:                                             ; wait for the chunks that workers claimed
  %theirs = sub i32 %chunks, %own_count
  br label %look
look:
  %n = phi i32 [ 0, %settle ], [ %n1, %rest ]
  %d = load atomic i32, ptr @done acquire, align 4
  %over = icmp eq i32 %d, %theirs
  br i1 %over, label %leave, label %patience
patience:
  %n1 = add i32 %n, 1
  %spin = icmp slt i32 %n1, $SPIN
  br i1 %spin, label %rest, label %bed
rest:
  call void $PAUSE
  br label %look
bed:
  store atomic i32 1, ptr @waiting seq_cst, align 4
  br label %doze
doze:
  %d2 = load atomic i32, ptr @done seq_cst, align 4
  %over2 = icmp eq i32 %d2, %theirs
  br i1 %over2, label %rise, label %nap
nap:
  call void @park(ptr @done, i32 %d2)
  br label %doze
rise:
  store atomic i32 0, ptr @waiting monotonic, align 4
  br label %leave
leave:
  store atomic i32 0, ptr @busy release, align 4
  ret void
}

define void @rushlight_pool_reset(ptr %cell) {     ; before the first run, and in a forked child
  store ptr %cell, ptr @threads
  store i32 0, ptr @done
  store i32 0, ptr @waiting
  store i32 0, ptr @sleepers
  store i32 0, ptr @started
  store i32 $MOST, ptr @most
  %t = load i64, ptr $ticket
  %closed = or i64 %t, 1048575
  store i64 %closed, ptr $ticket
  call void @parking()
  store atomic i32 0, ptr @busy release, align 4
  ret void
}
"""

# park(cell, value): sleep while the cell holds the value (or wake for no reason); unpark(cell, n): wake n that sleep on it
_FUTEX = """
declare i64 @syscall(i64, ...)
define internal void @park(ptr %cell, i32 %value) {
  %r = call i64 (i64, ...) @syscall(i64 $FUTEX, ptr %cell, i32 128, i32 %value, ptr null, ptr null, i32 0)
  ret void
}
define internal void @unpark(ptr %cell, i32 %n) {
  %r = call i64 (i64, ...) @syscall(i64 $FUTEX, ptr %cell, i32 129, i32 %n, ptr null, ptr null, i32 0)
  ret void
}
define internal void @parking() {
  ret void
}
declare i32 @sched_getcpu()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)
define internal i32 @core() {
  %c = call i32 @sched_getcpu()
  ret i32 %c
}
define internal void @settle(ptr %place) {
  call void @llvm.memset.p0.i64(ptr %place, i8 0, i64 256, i1 false)
  %set = getelementptr %Place, ptr %place, i32 0, i32 1
  %g = call i32 @sched_getaffinity(i32 0, i64 128, ptr %set)
  ret void
}
define internal void @spread(ptr %place) {
entry:
  %rest = alloca [16 x i64], align 16
  %n = load i32, ptr %place
  %wait = icmp sgt i32 %n, 0
  br i1 %wait, label %later, label %look
later:
  %n1 = sub i32 %n, 1
  store i32 %n1, ptr %place
  ret void
look:
  %here = call i32 @sched_getcpu()
  %there = load atomic i32, ptr $core monotonic, align 4
  %same = icmp eq i32 %here, %there
  %known = icmp ult i32 %here, 1024
  %move = and i1 %same, %known
  br i1 %move, label %go, label %end
go:                                                 ; any core that this worker was given, but this one
  store i32 $STAY, ptr %place
  %set = getelementptr %Place, ptr %place, i32 0, i32 1
  call void @llvm.memcpy.p0.p0.i64(ptr %rest, ptr %set, i64 128, i1 false)
  %word = lshr i32 %here, 6
  %at = getelementptr i64, ptr %rest, i32 %word
  %bits = load i64, ptr %at
  %b32 = and i32 %here, 63
  %b = zext i32 %b32 to i64
  %bit = shl i64 1, %b
  %without = xor i64 %bit, -1
  %left = and i64 %bits, %without
  store i64 %left, ptr %at
  %a = call i32 @sched_setaffinity(i32 0, i64 128, ptr %rest)
  br label %end
end:
  ret void
}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""

_CONDITION = """
@mutex = internal global [256 x i8] zeroinitializer, align 64
@condition = internal global [256 x i8] zeroinitializer, align 64
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
define internal void @park(ptr %cell, i32 %value) {
entry:
  %l = call i32 @pthread_mutex_lock(ptr @mutex)
  %v = load atomic i32, ptr %cell seq_cst, align 4
  %same = icmp eq i32 %v, %value
  br i1 %same, label %sleep, label %end
sleep:
  %w = call i32 @pthread_cond_wait(ptr @condition, ptr @mutex)
  br label %end
end:
  %u = call i32 @pthread_mutex_unlock(ptr @mutex)
  ret void
}
define internal void @unpark(ptr %cell, i32 %n) {
  %l = call i32 @pthread_mutex_lock(ptr @mutex)
  %w = call i32 @pthread_cond_broadcast(ptr @condition)
  %u = call i32 @pthread_mutex_unlock(ptr @mutex)
  ret void
}
define internal void @parking() {
  %m = call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  %c = call i32 @pthread_cond_init(ptr @condition, ptr null)
  ret void
}
define internal i32 @core() {
  ret i32 -1
}
define internal void @settle(ptr %place) {
  ret void
}
define internal void @spread(ptr %place) {
  ret void
}
"""

_SERIAL = """
define void @rushlight_run(ptr %fn, ptr %args, i64 %total, i64 %grain) {
entry:
  %some = icmp sgt i64 %total, 0
  br i1 %some, label %serial, label %out
serial:
  call void %fn(ptr %args, i64 0, i64 %total, i64 0)
  br label %out
out:
  ret void
}
define void @rushlight_pool_reset(ptr %cell) {
  ret void
}
"""

_PAUSE = {"x86_64": "@llvm.x86.sse2.pause()", "aarch64": "@llvm.aarch64.isb(i32 15)"}
_FUTEX_CALL = {"x86_64": "202", "aarch64": "98"}


def source(system=None, machine=None, futex=True):
    """The pool's module for a system ("linux", "darwin", ... as sys.platform) and a processor; this one by default.

    Without `futex` Linux sleeps as other systems do."""
    system, machine = system or sys.platform, machine or platform.machine()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine.lower(), machine.lower())
    if system == "win32" or machine not in _PAUSE or sys.maxsize < 2**32:
        return _SERIAL
    linux = system.startswith("linux")
    text = _POOL + (_FUTEX if linux and futex else _CONDITION)
    # signals that a fault of the thread itself raises must still reach it
    faults = (4, 7, 8, 11) if linux else (4, 10, 8, 11)
    keep = "\n  ".join(f"%k{s} = call i32 @sigdelset(ptr %mask, i32 {s})" for s in faults)
    words = {"TYPES": ", ".join(_FIELDS.values()), "MOST": MAX_THREADS, "SPIN": SPIN, "STAY": STAY, "CHUNKS": MAX_CHUNKS, "PAUSE": _PAUSE[machine], "PAUSE_TYPE": _PAUSE[machine].replace(" 15", ""), "FUTEX": _FUTEX_CALL[machine], "KEEP": keep, "SETMASK": 2 if linux else 3}
    words.update({f: f"getelementptr (%Job, ptr @job, i32 0, i32 {k})" for k, f in enumerate(_FIELDS)})
    for word in sorted(words, key=len, reverse=True):
        text = text.replace("$" + word, str(words[word]))
    return text


_LOADED: list = []  # (address of run, run as a Python function), once it is there


def _native():
    with native.LOCK:
        if not _LOADED:
            at = native.load(source(), ["rushlight_run", "rushlight_pool_reset"], optimise=False)
            reset = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(at["rushlight_pool_reset"])
            cell = SETTINGS.threads_address
            reset(cell)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=lambda: reset(cell))
            address = at["rushlight_run"]
            _LOADED.append((address, native.function(address, None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)))
        return _LOADED[0]


def run(address, args, total, grain):
    """Call the kernel at `address` on chunks of `grain` iterations of [0, total), on all threads; the GIL is released.

    `args` is the address of the kernel's slots (an int, or a ctypes object). The call returns when all is done."""
    if record.active and (tape := record.tape()) is not None:
        tape.launches.append(record.Raw(address, args, total, grain))
        return
    (_LOADED or (_native(),))[0][1](address, args, total, grain)


def run_address():
    """The address of `void run(ptr kernel, ptr args, i64 total, i64 grain)`, for compiled programs to call."""
    return _native()[0]


def set_num_threads(n):
    """How many threads a run may use, its caller included."""
    SETTINGS.threads = n


def get_num_threads():
    """How many threads a run may use; kernels see thread numbers below it."""
    return SETTINGS.threads
