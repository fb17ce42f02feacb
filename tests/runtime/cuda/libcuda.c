/* A libcuda.so.1 that has every function which `find` has: cuda-bindings looks for functions by name and by the CUDA that brought
   their present form. */
static void *(*find)(const char *name, int version);

void find_with(void *function) { find = (void *(*)(const char *, int))function; }

int cuGetProcAddress_v2(const char *name, void **function, int version, unsigned long long flags, int *status) {
    *function = find ? find(name, version) : 0;
    if (status) *status = *function ? 0 : 1;
    return *function ? 0 : 500;   /* CUDA_ERROR_NOT_FOUND */
}
