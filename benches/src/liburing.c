/* The rounds of liburing, as its examples write them. Compiled by the benchmark where Debian's liburing-dev is. */

#include <liburing.h>
#include <stdlib.h>

#define MARK 3

struct rounds {
    struct io_uring ring;
    int fd, length;
    long wide;
};

struct rounds *rounds_new(unsigned entries, int fd, int length, int wide)
{
    struct rounds *self = calloc(1, sizeof *self);
    unsigned flags = wide ? IORING_SETUP_SQE128 | IORING_SETUP_CQE32 : 0;

    self->fd = fd;
    self->length = length;
    if (io_uring_queue_init(entries, &self->ring, flags) < 0) {
        free(self);
        return NULL;
    }
    return self;
}

void rounds_free(struct rounds *self)
{
    io_uring_queue_exit(&self->ring);
    free(self);
}

static inline int finish(struct rounds *self, unsigned batch)
{
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0;
    unsigned long long sum = 0;

    if (io_uring_submit_and_wait(&self->ring, batch) < 0)
        return -1;
    io_uring_for_each_cqe(&self->ring, head, cqe) {
        sum += cqe->user_data;
        seen++;
    }
    io_uring_cq_advance(&self->ring, seen);
    return sum == (unsigned long long)batch * MARK ? 0 : -1;
}

int rounds_nop(struct rounds *self, unsigned loops, unsigned batch)
{
    while (loops--) {
        for (unsigned i = 0; i < batch; i++) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&self->ring);
            if (!sqe)
                return -1;
            io_uring_prep_nop(sqe);
            io_uring_sqe_set_data64(sqe, MARK);
        }
        if (finish(self, batch))
            return -1;
    }
    return 0;
}

int rounds_read(struct rounds *self, unsigned loops, unsigned batch, char *buffers, unsigned long long blocks,
                unsigned long long *seed)
{
    while (loops--) {
        for (unsigned i = 0; i < batch; i++) {
            struct io_uring_sqe *sqe = io_uring_get_sqe(&self->ring);
            if (!sqe)
                return -1;
            *seed ^= *seed << 13;
            *seed ^= *seed >> 7;
            *seed ^= *seed << 17;
            io_uring_prep_read(sqe, self->fd, buffers + (size_t)i * self->length, self->length,
                               *seed % blocks * self->length);
            io_uring_sqe_set_data64(sqe, MARK);
        }
        if (finish(self, batch))
            return -1;
    }
    return 0;
}
