"""jitnet's own thread pool, in the language of words.py: workers that wait actively for a while, then sleep.

A chunk is taken in one atomic step: from the front of a thread's own share, then from the back of the others'. So the same
thread works on the same part of an array from call to call, where its cache holds it, and the caller waits for nobody who has
not begun: with a core taken away it does everything itself. A region of two chunks costs half a microsecond while the workers
are awake; TBB's wake up anew in every region, which takes five.

The table (layout.P_*) begins with the job; every word that several threads write has a cache line of its own.
"""
# ruff: noqa: F403, F405  (the numbers of table words come from layout.py, all of them)
from .layout import *
from .words import (
    add_atomic,
    call0,
    call1,
    call3,
    call4,
    library,
    load64,
    load_atomic,
    lower_half,
    pause,
    smaller,
    store64,
    store_atomic,
    swap_if,
)


def pool_attach(table):
    """Tells the functions here where their table is."""
    store64(library(), table)
    return 0


def pool_share(table, index):
    """Address of the word with the chunks that are left of a thread's share: next << 32 | end."""
    return table + 8 * (P_SHARES + P_LINE * index)


def pool_worker_record(table, index):
    """Address of a worker's record; thread 0 is the caller and has none."""
    return table + 8 * (P_SHARES + P_LINE * P_MOST + P_RECORD * index)


def pool_start(table):
    """Starts the workers, all signals blocked: those are for Python's own threads."""
    store64(table + 8 * P_STARTED, 1)
    for i in range(16):
        store64(table + 8 * (P_SIGNALS + i), -1)
    call3(load64(table + 8 * P_SIGMASK), P_SIG_SETMASK, table + 8 * P_SIGNALS, table + 8 * P_OLD_SIGNALS)
    wanted = load64(table + 8 * P_WANTED)
    count = 0
    while count < wanted:
        record = pool_worker_record(table, count + 1)
        store64(record + 8 * W_INDEX, count + 1)
        store64(record + 8 * W_ASLEEP, 0)
        call3(load64(table + 8 * P_SEM_INIT), record + 8 * W_SEMAPHORE, 0, 0)
        if lower_half(call4(load64(table + 8 * P_CREATE), record + 8 * W_THREAD, 0, load64(table + 8 * P_WORKER), record)) != 0:
            break
        count += 1
    store64(table + 8 * P_WORKERS, count)
    call3(load64(table + 8 * P_SIGMASK), P_SIG_SETMASK, table + 8 * P_OLD_SIGNALS, 0)
    return 0


def pool_wake(table, index):
    """Wakes a worker that sleeps, if this job has work for it."""
    if index < load64(table + 8 * P_THREADS):
        record = pool_worker_record(table, index)
        if load_atomic(record + 8 * W_ASLEEP) != 0 and swap_if(record + 8 * W_ASLEEP, 1, 0) != 0:
            call1(load64(table + 8 * P_SEM_POST), record + 8 * W_SEMAPHORE)
    return 0


def pool_work(table, index, record):
    """Runs chunks until none is left: those of the own share in order, then the last ones of the others."""
    threads = load64(table + 8 * P_THREADS)
    if index >= threads:
        return 0
    done, victim = 0, index
    for _ in range(threads):
        share = pool_share(table, victim)
        while True:
            word = load_atomic(share)
            following, end = word >> 32, lower_half(word)
            if following >= end:
                break
            own = victim == index
            if swap_if(share, word, word + (1 << 32) if own else word - 1) != 0:
                # Only now: while a chunk is not done the job stands, whichever it was before.
                store64(record + 8 * W_FIRST, following if own else end - 1)
                store64(record + 8 * W_COUNT, 1)
                call4(load64(table + 8 * P_FUNCTION), record + 8 * W_FIRST, record + 8 * W_COUNT, 0, load64(table + 8 * P_DATA))
                done += 1
        victim += 1
        if victim >= threads:
            victim = 0
    if done != 0:
        add_atomic(table + 8 * P_DONE, done)
    return 0


def pool_sleep(table, record, seen):
    """Sleeps until the next job, unless it is there already."""
    swap_if(record + 8 * W_ASLEEP, 0, 1)
    if load_atomic(table + 8 * P_JOB) != seen and swap_if(record + 8 * W_ASLEEP, 1, 0) != 0:
        return 0
    call1(load64(table + 8 * P_SEM_WAIT), record + 8 * W_SEMAPHORE)
    while load_atomic(record + 8 * W_ASLEEP) != 0:
        call1(load64(table + 8 * P_SEM_WAIT), record + 8 * W_SEMAPHORE)
    return 0


def pool_worker(record):
    """The life of a worker."""
    table = load64(library())
    index = load64(record + 8 * W_INDEX)
    seen = 0
    while True:
        waited = 0
        awake = P_AWAKE if load64(table + 8 * P_CALM) == 0 else P_PATIENCE
        while load_atomic(table + 8 * P_JOB) == seen:
            pause()
            waited += 1
            if waited >= awake:
                pool_sleep(table, record, seen)
                waited = 0
        seen = load_atomic(table + 8 * P_JOB)
        pool_wake(table, 2 * index + 1)
        pool_wake(table, 2 * index + 2)
        pool_work(table, index, record)
    return 0


def pool_for(function, args, dims, steps, data, inner, arrays, threads):
    """Calls function(first, count, 0, data) for every chunk, with the signature of Numba's pools; one caller at a time."""
    table = load64(library())
    if load64(table + 8 * P_STARTED) == 0:
        pool_start(table)
    count = load64(dims)
    threads = smaller(smaller(threads, load64(table + 8 * P_WORKERS) + 1), count)
    calm = load64(table + 8 * P_CALM)
    if calm > 0:
        store64(table + 8 * P_CALM, calm - 1)
    store64(table + 8 * P_FUNCTION, function)
    store64(table + 8 * P_DATA, data)
    store64(table + 8 * P_THREADS, threads)
    store_atomic(table + 8 * P_DONE, 0)
    for i in range(threads):
        store_atomic(pool_share(table, i), (count * i // threads << 32) + count * (i + 1) // threads)
    add_atomic(table + 8 * P_JOB, 1)
    pool_wake(table, 1)
    pool_wake(table, 2)
    pool_work(table, 0, pool_worker_record(table, 0))
    waited, yields = 0, 0
    while load_atomic(table + 8 * P_DONE) < count:
        pause()
        waited += 1
        if waited >= P_PATIENCE:   # its thread may wait for this very core
            call0(load64(table + 8 * P_YIELD))
            waited = 0
            yields += 1
            if yields == P_STALLED:
                store64(table + 8 * P_CALM, P_CALM_JOBS)
    return 0
