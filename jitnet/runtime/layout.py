"""Tables that Python writes and native code reads: the numbers of their 8-byte words.

A *block* is one compiled program, a *frame* the memory of one call of it, a *record* one guarded signature of an entry, and
the *table* of an entry lists its records. *api* is one table per process: addresses of CPython, NumPy and thread pool
functions, and the pool of large freed blocks. All of them are arrays of int64.
"""

# api
(ARRAY_TYPE, FLOAT_TYPE, LONG_TYPE, TRUE, FALSE, NEW_ARRAY, ARRAY_RETURN, INCREF, DECREF, TUPLE_NEW, TUPLE_SET, NEW_OBJECT,
 VECTORCALL, SAVE_THREAD, RESTORE_THREAD, LONG_AS_LONG, LONG_FROM_LONG, MALLOC, FREE, MADVISE, PARALLEL_FOR,
 NUM_THREADS, POOL_EXCLUSIVE, POOL_BUSY, CHUNKS, MEMORY_HANDLER, ALIGNED_FROM, HELD_LOCK, HELD_BYTES, HELD_BOUND,
 HELD_COUNT, CHECK_SIGNALS, IDLE_BYTES, IDLE_BOUND, HELD) = range(35)
HELD_MAX = 32  # freed blocks kept at most: pairs (address, capacity) from HELD on
API_WORDS = HELD + 2 * HELD_MAX
POOLED_FROM = 1 << 20  # bytes: smaller blocks go back to malloc at once
IDLE_FROM = 1 << 14  # bytes: idle programs keep arenas from here on as long as all of them hold less than IDLE_MOST
IDLE_MOST = 1 << 26
HUGE_FROM = 4 << 20  # bytes: from here on the system is asked for huge pages
HEADER = 64  # bytes before an aligned block: address that malloc gave, capacity

# thread pool: the job, then a cache line for each word that several threads write, then the system's functions
P_JOB, P_FUNCTION, P_DATA, P_THREADS = range(4)
P_LINE = 8  # words in a cache line
P_DONE = P_LINE
(P_STARTED, P_WANTED, P_WORKERS, P_WORKER, P_CREATE, P_SIGMASK, P_SEM_INIT, P_SEM_WAIT, P_SEM_POST,
 P_YIELD, P_CALM) = range(2 * P_LINE, 2 * P_LINE + 11)  # P_CALM: for how many jobs more the workers sleep early
P_SIGNALS, P_OLD_SIGNALS, P_SHARES = 32, 48, 64
P_MOST = 256  # threads at most, the caller among them
P_SIG_SETMASK = 2
P_PATIENCE = 1000  # pauses before a caller that waits lets others onto its core: 10 to 60 us
P_AWAKE = 16000  # pauses before a worker sleeps: to wake one takes 20 to 60 us, and serial steps between products as long
P_STALLED = 100  # times a caller lets others onto its core until it knows: another process has a worker's core
P_CALM_JOBS = 1000  # who spins beside such a neighbour has no time left for the work: workers sleep early for so many jobs
W_ASLEEP, W_INDEX, W_THREAD, W_FIRST, W_COUNT, W_SEMAPHORE = range(6)  # a worker's record; a semaphore has 32 bytes
P_RECORD = 2 * P_LINE
P_WORDS = P_SHARES + P_MOST * (P_LINE + P_RECORD)

# block
(B_API, B_CODE, B_STATIC, B_STATIC_COUNT, B_IO, B_IO_COUNT, B_STATUS, B_STATUS_COUNT, B_ARENA_BYTES, B_FRAME_WORDS,
 B_FREE, B_INPUTS, B_OUTPUTS) = range(13)
BLOCK_WORDS = 16

# frame
(F_NEXT, F_ARENA, F_OWNS_ARENA, F_KERNEL, F_BUFFERS, F_SIZES, F_EXTENT, F_GRAIN, F_POOL_ARGS, F_POOL_DIMS,
 F_POOL_STEPS, F_THREAD) = range(12)
F_IO = 16  # input addresses, then output addresses, scalar cells, loop states, buffer lists

# instructions: eight words each
(OP_END, OP_SERIAL, OP_PARALLEL, OP_CALLBACK, OP_LOOP, OP_TEST_COUNT, OP_TEST_CONDITION, OP_NEXT, OP_EXIT, OP_SWITCH,
 OP_JUMP) = range(11)
INSTRUCTION_WORDS = 8
COUNT_FIXED, COUNT_SLOT, COUNT_ENDLESS = range(3)

# table of an entry
T_API, T_COUNT, T_FALLBACK, T_ON_ERROR, T_CLOCK, T_RECORDS = range(6)
MAX_RECORDS = 64
T_KEYS, T_STAMPS = T_RECORDS + MAX_RECORDS, T_RECORDS + 2 * MAX_RECORDS  # of each record: hash of what it wants, last use
TABLE_WORDS = T_RECORDS + 3 * MAX_RECORDS
KEY_FACTOR = 31

# record
(R_OWNER, R_BLOCK, R_ARGUMENT_COUNT, R_RELEASE, R_SINGLE, R_OUTPUTS, R_OUTPUT_COUNT,
 R_WRAPPER, R_SLOT, R_APART, R_APART_COUNT, R_ARGUMENTS) = range(12)
RECORD_WORDS = R_ARGUMENTS
APART_WORDS = 4  # two inputs that must not overlap, for one is written: frame word and bytes of each
TUPLE, SINGLE = range(2)  # how a call returns its outputs; another number is the address of the object that it returns instead
OUTPUT_WORDS = 4  # descr, ndim, address of the shape, bytes
# arguments: (kind, frame word, ...), as long as the kind wants
KIND_ARRAY, KIND_FLOAT, KIND_INT, KIND_BOOL, KIND_NUMPY_SCALAR, KIND_SAME = range(6)
ARRAY_WORDS = 7  # kind, word, descr, flags, ndim, class around the array or 0, its word with the array, then the shape
SCALAR_WORDS = 4  # kind, word, (dtype code, frame word of the cell) or (type or object, unused)
DTYPE_CODES = {"f4": 0, "f8": 1, "i1": 2, "i2": 3, "i4": 4, "i8": 5, "u1": 6, "u2": 7, "u4": 8, "u8": 9, "b1": 10}

# CPython and NumPy objects, in words; checked against live objects when native.py loads
OBJECT_TYPE, OBJECT_VALUE = 1, 2
ARRAY_DATA, ARRAY_NDIM, ARRAY_SHAPE, ARRAY_DESCR, ARRAY_FLAGS, ARRAY_HANDLER = 2, 3, 4, 7, 8, 11
C_CONTIGUOUS, OWNDATA, ALIGNED, WRITEABLE = 0x1, 0x4, 0x100, 0x400

# what a run returns; in a call from Python, an exception is set already from NO_MEMORY on
DONE, STATUS_SET, CALLBACK_FAILED, NO_MEMORY, INTERRUPTED = range(5)
