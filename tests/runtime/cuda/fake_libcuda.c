/* A CUDA driver without a GPU: memory is the host's, work is done at once, rules are enforced.
 *
 * The real Python bindings load it as libcuda.so.1, so that what they are given is judged by their
 * own code and by these checks: a context must be current, copies must stay inside live
 * allocations, what is created is destroyed once, nothing synchronises a stream in capture.
 * FAKE_CUDA_LOG names a file that gets one line a call; FAKE_CUDA_FAIL=call:code makes a call fail.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, INVALID = 1, MEMORY = 2, CONTEXT = 201, HANDLE = 400, CAPTURE = 900, NOT_FOUND = 500 };
enum { DEVICE = 1, HOST, STREAM, EVENT, GRAPH, EXEC };

typedef struct { int kind; uint64_t start; size_t size; int mapped; } Thing;
typedef struct { int capturing; long copies; } Queue;

static Thing things[4096];
static int count, retained;
static uint64_t next_device; /* device memory can be read at its pointer: by a fake TensorRT */
static size_t total = 64u << 20, used;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread void *stack[16];
static __thread int depth;
static char the_context;

static void say(const char *format, ...) {
    const char *path = getenv("FAKE_CUDA_LOG");
    if (!path) return;
    FILE *file = fopen(path, "a");
    va_list list;
    va_start(list, format);
    vfprintf(file, format, list);
    va_end(list);
    fputc('\n', file);
    fclose(file);
}

static int failing(const char *name) {
    const char *text = getenv("FAKE_CUDA_FAIL");
    size_t n = strlen(name);
    return text && strncmp(text, name, n) == 0 && text[n] == ':' ? atoi(text + n + 1) : 0;
}

#define ENTER(name, ...) do { say(name __VA_ARGS__); int bad = failing(name); if (bad) return bad; } while (0)
#define CURRENT() do { if (!depth) return CONTEXT; } while (0)

static Thing *find(int kind, uint64_t at, size_t size) {
    for (int i = 0; i < count; i++)
        if (things[i].kind == kind && at >= things[i].start && at + size <= things[i].start + things[i].size)
            return &things[i];
    return NULL;
}

static int add(int kind, uint64_t start, size_t size, int mapped) {
    pthread_mutex_lock(&lock);
    things[count++] = (Thing){kind, start, size, mapped};
    pthread_mutex_unlock(&lock);
    return OK;
}

static int drop(int kind, uint64_t start) {
    pthread_mutex_lock(&lock);
    Thing *thing = find(kind, start, 0);
    int good = thing && thing->start == start;
    if (good) *thing = things[--count];
    pthread_mutex_unlock(&lock);
    return good ? OK : HANDLE;
}

int fake_cuda_live(void) { return count; }
int fake_cuda_depth(void) { return depth; }
int fake_cuda_retained(void) { return retained; }

int cuInit(unsigned flags) { ENTER("cuInit"); return flags ? INVALID : OK; }
int cuDriverGetVersion(int *v) { *v = 13000; return OK; }
int cuDeviceGetCount(int *n) { *n = 1; return OK; }
int cuDeviceGet(int *d, int i) { ENTER("cuDeviceGet"); if (i) return 101; *d = 0; return OK; }
int cuDeviceGetName(char *name, int n, int d) { (void)d; snprintf(name, n, "Fake GPU"); return OK; }
int cuDeviceTotalMem_v2(size_t *n, int d) { (void)d; *n = total; return OK; }
int cuDeviceGetAttribute(int *v, int a, int d) {
    (void)d;
    *v = a == 75 ? 8 : a == 76 ? 7 : a == 18 ? getenv("FAKE_CUDA_INTEGRATED") != NULL : 16;
    return OK;
}
int cuDevicePrimaryCtxRetain(void **c, int d) {
    ENTER("cuDevicePrimaryCtxRetain");
    (void)d; retained++; *c = &the_context; return OK;
}
int cuDevicePrimaryCtxRelease_v2(int d) {
    ENTER("cuDevicePrimaryCtxRelease");
    (void)d; if (!retained) return CONTEXT; retained--; return OK;
}
int cuCtxPushCurrent_v2(void *c) { if (c != &the_context) return CONTEXT; stack[depth++] = c; return OK; }
int cuCtxPopCurrent_v2(void **c) { CURRENT(); void *top = stack[--depth]; if (c) *c = top; return OK; }
int cuCtxGetCurrent(void **c) { *c = depth ? stack[depth - 1] : NULL; return OK; }
int cuCtxGetDevice(int *d) { CURRENT(); *d = 0; return OK; }

int cuMemGetInfo_v2(size_t *f, size_t *t) { CURRENT(); *f = total - used; *t = total; return OK; }
int cuMemAlloc_v2(uint64_t *p, size_t n) {
    ENTER("cuMemAlloc", " %zu", n); CURRENT();
    if (!n) return INVALID;
    if (n > total - used) return MEMORY;
    if (!next_device) next_device = ((uint64_t)calloc(1, 16 * total) + 255) / 256 * 256;
    *p = next_device; next_device += (n + 511) / 256 * 256; used += n;
    return add(DEVICE, *p, n, 0);
}
int cuMemFree_v2(uint64_t p) {
    ENTER("cuMemFree"); CURRENT();
    Thing *thing = find(DEVICE, p, 0);
    if (!thing || thing->start != p) return INVALID;
    used -= thing->size;
    return drop(DEVICE, p);
}
int cuMemHostAlloc(void **p, size_t n, unsigned flags) {
    ENTER("cuMemHostAlloc", " %zu %u", n, flags); CURRENT();
    *p = malloc(n); memset(*p, 0x5a, n);
    return add(HOST, (uint64_t)*p, n, flags & 2);
}
int cuMemFreeHost(void *p) {
    ENTER("cuMemFreeHost"); CURRENT();
    int status = drop(HOST, (uint64_t)p);
    if (!status) free(p);
    return status ? INVALID : OK;
}
int cuMemHostGetDevicePointer_v2(uint64_t *d, void *p, unsigned flags) {
    ENTER("cuMemHostGetDevicePointer"); CURRENT();
    Thing *thing = find(HOST, (uint64_t)p, 0);
    if (!thing || !thing->mapped || flags) return INVALID;
    *d = (uint64_t)p;
    return OK;
}

static int copied(const char *name, uint64_t device, void *host, size_t n, Queue *queue) {
    CURRENT();
    if (!find(STREAM, (uint64_t)queue, 0)) return HANDLE;
    if (!find(DEVICE, device, n) || !find(HOST, (uint64_t)host, n)) return INVALID;
    if (queue->capturing) { queue->copies++; return OK; }
    char *at = (char *)device;
    if (name[8] == 'H') memcpy(at, host, n); else memcpy(host, at, n);
    return OK;
}
int cuMemcpyHtoDAsync_v2(uint64_t d, void *h, size_t n, Queue *q) {
    ENTER("cuMemcpyHtoDAsync", " %zu", n); return copied("cuMemcpyHtoDAsync", d, h, n, q);
}
int cuMemcpyDtoHAsync_v2(void *h, uint64_t d, size_t n, Queue *q) {
    ENTER("cuMemcpyDtoHAsync", " %zu", n); return copied("cuMemcpyDtoHAsync", d, h, n, q);
}

int cuStreamCreate(Queue **q, unsigned flags) {
    ENTER("cuStreamCreate", " %u", flags); CURRENT();
    *q = calloc(1, sizeof(Queue));
    return add(STREAM, (uint64_t)*q, 1, 0);
}
int cuStreamDestroy_v2(Queue *q) { ENTER("cuStreamDestroy"); CURRENT(); return drop(STREAM, (uint64_t)q); }
int cuStreamSynchronize(Queue *q) {
    ENTER("cuStreamSynchronize"); CURRENT();
    if (!find(STREAM, (uint64_t)q, 0)) return HANDLE;
    return q->capturing ? CAPTURE : OK;
}
int cuEventCreate(void **e, unsigned flags) {
    ENTER("cuEventCreate"); CURRENT();
    if (flags & 2) return INVALID; /* timing switched off */
    *e = calloc(1, 8);
    return add(EVENT, (uint64_t)*e, 8, 0);
}
int cuEventDestroy_v2(void *e) { ENTER("cuEventDestroy"); CURRENT(); return drop(EVENT, (uint64_t)e); }
int cuEventRecord(void *e, Queue *q) {
    static double now;
    ENTER("cuEventRecord"); CURRENT();
    if (!find(EVENT, (uint64_t)e, 0) || !find(STREAM, (uint64_t)q, 0)) return HANDLE;
    *(double *)e = now += 1.5;
    return OK;
}
int cuEventElapsedTime(float *ms, double *a, double *b) {
    ENTER("cuEventElapsedTime"); CURRENT();
    if (!*a || !*b) return HANDLE;
    *ms = (float)(*b - *a);
    return OK;
}
int cuEventElapsedTime_v2(float *ms, double *a, double *b) { return cuEventElapsedTime(ms, a, b); }

int cuStreamBeginCapture_v2(Queue *q, int mode) {
    ENTER("cuStreamBeginCapture", " %d", mode); CURRENT();
    if (q->capturing) return CAPTURE;
    q->capturing = 1;
    return OK;
}
int cuStreamEndCapture(Queue *q, void **g) {
    ENTER("cuStreamEndCapture"); CURRENT();
    if (!q->capturing) return INVALID;
    q->capturing = 0;
    *g = calloc(1, 8);
    return add(GRAPH, (uint64_t)*g, 1, 0);
}
int cuGraphInstantiateWithFlags(void **x, void *g, unsigned long long flags) {
    ENTER("cuGraphInstantiate"); CURRENT();
    if (flags || !find(GRAPH, (uint64_t)g, 0)) return INVALID;
    *x = calloc(1, 8);
    return add(EXEC, (uint64_t)*x, 1, 0);
}
int cuGraphLaunch(void *x, Queue *q) {
    ENTER("cuGraphLaunch"); CURRENT();
    return find(EXEC, (uint64_t)x, 0) && find(STREAM, (uint64_t)q, 0) && !q->capturing ? OK : HANDLE;
}
int cuGraphExecDestroy(void *x) { ENTER("cuGraphExecDestroy"); CURRENT(); return drop(EXEC, (uint64_t)x); }
int cuGraphDestroy(void *g) { ENTER("cuGraphDestroy"); CURRENT(); return drop(GRAPH, (uint64_t)g); }

int cuGetErrorName(int code, const char **text) {
    *text = code == MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : code == CONTEXT ? "CUDA_ERROR_INVALID_CONTEXT"
        : "CUDA_ERROR_INVALID_VALUE";
    return OK;
}
int cuGetErrorString(int code, const char **text) {
    *text = code == MEMORY ? "out of memory" : code == CONTEXT ? "invalid device context" : "invalid argument";
    return OK;
}
int cuGetProcAddress_v2(const char *name, void **f, int version, uint64_t flags, int *status) {
    (void)version; (void)flags;
    char newer[128];
    snprintf(newer, sizeof newer, "%s_v2", name);
    *f = dlsym(RTLD_DEFAULT, newer);
    if (!*f) { Dl_info me; dladdr((void *)cuInit, &me); void *self = dlopen(me.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
        *f = dlsym(self, newer); if (!*f) *f = dlsym(self, name); }
    if (!*f && strcmp(name, "cuGraphInstantiate") == 0) *f = (void *)cuGraphInstantiateWithFlags;
    if (status) *status = *f ? 0 : 1;
    return *f ? OK : NOT_FOUND;
}
int cuGetProcAddress(const char *name, void **f, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, f, version, flags, NULL);
}
